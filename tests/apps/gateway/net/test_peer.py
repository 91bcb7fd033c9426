"""What a listener tells of the far end of a connection: the facts that authentication may go by."""

from __future__ import annotations

import asyncio
import ssl

import pytest

from apps.gateway.broker.ports import Peer
from apps.gateway.consumers import _peer
from apps.gateway.net import tls
from tests.apps.gateway.net.conftest import Serve
from tests.wire.certs import Certificates
from tests.wire.raw import V5, connect

SUBJECT = "CN=device-7,O=Factory"


async def meet(port: int, context: ssl.SSLContext | None = None) -> tuple[str, int]:
    """Connect, wait for CONNACK; the client's own address."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    own = writer.get_extra_info("sockname")
    writer.write(connect(V5, "c"))
    assert (await asyncio.wait_for(reader.readexactly(1), 5)) == b"\x20"
    writer.close()
    return own[0], own[1]


def context(certificates: Certificates, client_auth: str) -> ssl.SSLContext:
    return tls.server_context(
        tls.Tls(certificates.server, certificates.server_key, certificates.ca, client_auth)
    )


async def test_over_tcp(serve: Serve) -> None:
    served = await serve()
    address, port = await meet(served.port)
    assert served.peers == [Peer(address, port, "tcp")]


@pytest.mark.parametrize("client_auth", ["optional", "required"])
async def test_the_subject_of_a_client_certificate(
    serve: Serve, certificates: Certificates, client_auth: str
) -> None:
    served = await serve(context=context(certificates, client_auth))
    address, port = await meet(served.port, certificates.context(client=True))
    assert served.peers == [Peer(address, port, "tls", SUBJECT, "device-7")]


async def test_no_certificate(serve: Serve, certificates: Certificates) -> None:
    served = await serve(context=context(certificates, "optional"))
    address, port = await meet(served.port, certificates.context())
    assert served.peers == [Peer(address, port, "tls")]


async def test_a_certificate_that_nobody_asked_for_proves_nothing(
    serve: Serve, certificates: Certificates
) -> None:
    served = await serve(context=context(certificates, "none"))
    address, port = await meet(served.port, certificates.context(client=True))
    assert served.peers == [Peer(address, port, "tls")]


def test_over_a_websocket() -> None:
    scope = {"client": ["192.0.2.1", 4711], "scheme": "ws"}
    assert _peer(scope) == Peer("192.0.2.1", 4711, "ws")


def test_over_a_secure_websocket() -> None:
    scope = {
        "client": ["192.0.2.1", 4711],
        "scheme": "wss",
        "extensions": {"tls": {"client_cert_name": SUBJECT}},
    }
    assert _peer(scope) == Peer("192.0.2.1", 4711, "wss", SUBJECT, "device-7")
