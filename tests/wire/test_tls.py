"""TLS listeners: the versions that are spoken, and client certificates."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, environment
from tests.wire.raw import V5, V311, Closed, Raw, RawWebSocket, Refused

VERSIONS = ssl.TLSVersion


def only(context: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Speak one TLS version, which the library may have to be talked into."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
    return context


def port(node: Node, door: str) -> int:
    return node.tls if door == "tls" else node.wss


def meet(node: Node, door: str, context: ssl.SSLContext) -> Raw:
    return Raw(node.tls, context) if door == "tls" else RawWebSocket(node.wss, context)


@pytest.mark.parametrize("door", ["tls", "wss"])
@pytest.mark.parametrize("version", [VERSIONS.TLSv1_2, VERSIONS.TLSv1_3])
def test_versions_that_are_spoken(
    node: Node, certificates: Certificates, door: str, version: ssl.TLSVersion
) -> None:
    with meet(node, door, only(certificates.context(), version)) as client:
        client.connect(V5, "c")
        client.ping()


@pytest.mark.parametrize("door", ["tls", "wss"])
@pytest.mark.parametrize("version", [VERSIONS.TLSv1, VERSIONS.TLSv1_1])
def test_versions_that_are_not(
    node: Node, certificates: Certificates, door: str, version: ssl.TLSVersion
) -> None:
    context = only(certificates.context(), version)
    with (
        socket.create_connection(("127.0.0.1", port(node, door)), 5) as plain,
        pytest.raises(ssl.SSLError, match=r"PROTOCOL_VERSION|protocol version|EOF"),
    ):
        context.wrap_socket(plain, server_hostname="localhost").close()


@pytest.mark.parametrize("door", ["tls", "wss"])
def test_plain_text_where_tls_is_spoken(node: Node, door: str) -> None:
    with Raw(port(node, door)) as client:
        client.send(b"\x10\x0d\0\4MQTT\4\2\0\x3c\0\1c")
        with pytest.raises(Closed):
            while True:  # an alert may come first
                client.read()


# Client certificates --------------------------------------------------------------------------------


def settings(certificates: Certificates, tls: dict[str, str], client_auth: str) -> dict[str, str]:
    return tls | {
        "LISTENERS__TLS_CLIENT_CA": str(certificates.ca),
        "LISTENERS__TLS_CLIENT_AUTH": client_auth,
    }


def stranger(certificates: Certificates) -> ssl.SSLContext:
    context = certificates.context()
    context.load_cert_chain(certificates.stranger, certificates.stranger_key)
    return context


def refused(node: Node, door: str, context: ssl.SSLContext) -> bool:
    """In TLS 1.3 a client learns only after its handshake that the server refused its certificate."""
    try:
        with meet(node, door, context) as client:
            client.connect(V311, "c")
    except (Closed, Refused, OSError):
        return True
    return False


@pytest.mark.parametrize("door", ["tls", "wss"])
def test_required(start: Start, certificates: Certificates, tls_settings: dict[str, str], door: str) -> None:
    node = start(**settings(certificates, tls_settings, "required"))
    assert not refused(node, door, certificates.context(client=True))
    assert refused(node, door, certificates.context())
    assert refused(node, door, stranger(certificates))


@pytest.mark.parametrize("door", ["tls", "wss"])
def test_optional(start: Start, certificates: Certificates, tls_settings: dict[str, str], door: str) -> None:
    node = start(**settings(certificates, tls_settings, "optional"))
    assert not refused(node, door, certificates.context(client=True))
    assert not refused(node, door, certificates.context())
    assert refused(node, door, stranger(certificates))


@pytest.mark.parametrize("door", ["tls", "wss"])
def test_not_asked_for(node: Node, certificates: Certificates, door: str) -> None:
    assert not refused(node, door, certificates.context(client=True))
    assert not refused(node, door, stranger(certificates))


SCOPES = """
import json, socket, sys
from pathlib import Path
import django
django.setup()
from apps.gateway.broker.limits import Limits
from apps.gateway.server import GatewayServer, HttpListener
from apps.gateway.net.tls import Tls

async def application(scope, receive, send):
    await receive()
    print(json.dumps([scope["scheme"], scope.get("extensions")]), flush=True)
    await send({"type": "websocket.close"})

async def nothing():
    print(listening.getsockname()[1], flush=True)

listening = socket.create_server(("127.0.0.1", 0))
listening.setblocking(False)
http = [HttpListener(listening, Tls(*map(Path, sys.argv[1:]), client_auth="optional"))]
GatewayServer(application, http, nothing, nothing, Limits(), 5).run()
"""


def test_the_subject_is_in_the_scope_of_a_secure_websocket(
    certificates: Certificates, tmp_path: Path
) -> None:
    files = [certificates.server, certificates.server_key, certificates.ca]
    process = subprocess.Popen(
        [sys.executable, "-c", SCOPES, *map(str, files)],
        cwd=ROOT,
        env=environment(tmp_path) | {"DJANGO_SETTINGS_MODULE": "gmqtt_platform.settings"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        number = int(process.stdout.readline())
        for context in (certificates.context(client=True), certificates.context()):
            with pytest.raises(Refused):
                RawWebSocket(number, context)
        shown, anonymous = (json.loads(process.stdout.readline()) for _ in range(2))
        process.terminate()
    assert shown == ["wss", {"tls": {"client_cert_name": "CN=device-7,O=Factory"}}]
    assert anonymous == ["wss", None]
