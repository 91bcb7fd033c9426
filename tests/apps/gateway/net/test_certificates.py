"""The files of the TLS listeners: what is revoked, expired or broken, and sessions of before a change."""

from __future__ import annotations

import asyncio
import logging
import shutil
import socket
import ssl
import warnings
from pathlib import Path

import pytest

from apps.gateway.net.certificates import DAY, Certificates, Lasts
from apps.gateway.net.tls import Tls
from tests.apps.gateway.net.conftest import Serve, Served
from tests.support.waiting import until
from tests.wire import certs
from tests.wire.raw import V5, connect


@pytest.fixture
def files(tmp_path: Path, certificates: certs.Certificates) -> Tls:
    """Files that the test may replace; clients need a certificate of the CA's."""
    for name in ("server.pem", "server.key", "ca.pem"):
        shutil.copy(certificates.ca.parent / name, tmp_path / name)
    certs.crl(certificates, tmp_path / "crl.pem")
    paths = [tmp_path / name for name in ("server.pem", "server.key", "ca.pem")]
    return Tls(*paths, client_auth="required", crl=tmp_path / "crl.pem")


async def comes_in(
    port: int, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> ssl.SSLSession | None:
    """Connect as an MQTT client; the session's ticket. None: it was not let in."""

    def blocking() -> ssl.SSLSession | None:
        try:
            with (
                socket.create_connection(("127.0.0.1", port), 10) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as sock,
            ):
                sock.sendall(connect(V5, "device-7"))
                return sock.session if sock.recv(1) == b"\x20" else None
        except OSError:
            return None

    return await asyncio.to_thread(blocking)


async def counted(served: Served, reason: str) -> None:
    await until(lambda: served.handshakes.failures["tls", reason])


async def test_a_revoked_client_is_refused_as_soon_as_the_list_is_there(
    serve: Serve, files: Tls, certificates: certs.Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    found = Certificates(files)
    served = await serve(context=found.context)
    shown = certificates.context(client=True)
    assert await comes_in(served.port, shown)
    assert files.crl is not None
    certs.crl(certificates, files.crl, certificates.client)
    assert found.look() is True
    with caplog.at_level(logging.INFO):
        assert await comes_in(served.port, shown) is None
        await counted(served, "certificate_revoked")
    assert (
        "TLS handshake with 127.0.0.1 failed (certificate_revoked): certificate verify failed" in caplog.text
    )


async def test_a_session_of_before_a_change_of_the_client_ca_is_not_resumed(
    serve: Serve, files: Tls, certificates: certs.Certificates, tmp_path: Path
) -> None:
    """TLS 1.2 and 1.3 alike: a ticket would carry the old client's identity past the new CA."""
    found = Certificates(files)
    served = await serve(context=found.context)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        shown = certificates.context(client=True)
        shown.minimum_version = shown.maximum_version = version
        ticket = await comes_in(served.port, shown)
        assert ticket is not None
        assert await comes_in(served.port, shown, ticket)
        (tmp_path / "others").mkdir(exist_ok=True)
        others = certs.make(tmp_path / "others")
        assert files.client_ca is not None and files.crl is not None
        shutil.copy(others.ca, files.client_ca)
        certs.crl(others, files.crl)
        assert found.reload()
        assert await comes_in(served.port, shown, ticket) is None
        shutil.copy(certificates.ca, files.client_ca)
        certs.crl(certificates, files.crl)
        assert found.reload()


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----\nhalf of one"])
@pytest.mark.parametrize("name", ["cert", "key", "client_ca", "crl"])
def test_a_broken_file_changes_nothing(
    files: Tls, name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = Certificates(files)
    before = found.context()
    getattr(files, name).write_text(text)
    assert found.look() is False
    assert found.context() is before
    assert not found.status()["ok"] and found.status()["error"]
    assert "the new certificate is not used, the old one stays" in caplog.text
    assert found.look() is None  # said once


def test_a_new_list_that_is_out_of_date_is_not_used(files: Tls, certificates: certs.Certificates) -> None:
    found = Certificates(files)
    before = found.context()
    assert files.crl is not None
    certs.crl(certificates, files.crl, days=-1)
    assert found.reload() is False
    assert found.context() is before
    assert "crl.pem expired 24 hours ago" in found.error
    certs.crl(certificates, files.crl)
    assert found.reload() is True
    assert found.status()["ok"]


async def test_a_list_out_of_date_refuses_clients_and_says_so(
    serve: Serve, files: Tls, certificates: certs.Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenSSL takes nobody's word then: whether a client is revoked cannot be told."""
    assert files.crl is not None
    certs.crl(certificates, files.crl, days=-2)
    found = Certificates(files)
    assert (
        "crl.pem expired 2 days ago: clients with certificates are refused until there is a new one"
        in caplog.text
    )
    assert not found.status()["ok"]
    assert found.status()["note"].endswith("crl.pem: expired")
    served = await serve(context=found.context)
    assert await comes_in(served.port, certificates.context(client=True)) is None
    await counted(served, "crl_expired")


def test_the_log_warns_at_30_7_and_1_days(files: Tls, caplog: pytest.LogCaptureFixture) -> None:
    clock = [0.0]
    found = Certificates(Tls(files.cert, files.key), now=lambda: clock[0])
    end = found.expiry()[0][1]

    def said(days: float) -> list[str]:
        caplog.clear()
        clock[0] = end - days * DAY
        found.look()
        found.look()
        return [record.getMessage().rpartition("/")[2] for record in caplog.records]

    assert said(31) == []
    assert said(29.5) == ["server.pem expires in 29 days"]
    assert said(8) == []
    assert found.status()["ok"]
    assert said(6.5) == ["server.pem expires in 6 days"]
    assert found.status() == {
        "ok": False, "error": "", "note": f"{files.cert}: 6 days left", "days_left": {"certificate": 6}
    }  # fmt: skip
    assert said(0.5) == ["server.pem expires in 12 hours"]
    assert said(-0.5) == [
        "server.pem expired 12 hours ago: connections may be refused until there is a new one"
    ]
    assert found.status()["note"] == f"{files.cert}: expired"


@pytest.mark.parametrize(
    ("lifetime", "marks"),
    [(365, (30, 7, 1, 0)), (90, (30, 7, 1, 0)), (30, (7, 1, 0)), (7, (1, 0)), (1, (0,))],
)
def test_what_is_renewed_often_is_not_warned_of_early(lifetime: float, marks: tuple[int, ...]) -> None:
    assert Lasts(0, lifetime * DAY).marks == marks


async def test_reasons_are_told_apart(serve: Serve, files: Tls, certificates: certs.Certificates) -> None:
    served = await serve(context=Certificates(files).context)
    old = certificates.context(client=True)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0")
    stranger = ssl.create_default_context(cafile=str(certificates.ca))
    stranger.load_cert_chain(certificates.stranger, certificates.stranger_key)
    suspicious = ssl.create_default_context()
    for context, reason in (
        (old, "no_shared_cipher"),
        (certificates.context(), "no_certificate"),
        (stranger, "certificate_not_trusted"),
        (suspicious, "refused_by_client"),
    ):
        assert await comes_in(served.port, context) is None
        await counted(served, reason)
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(connect(V5, "c"))
    await reader.read()
    writer.close()
    await counted(served, "not_tls")
    assert sum(served.handshakes.failures.values()) == 5


@pytest.mark.parametrize("door", ["tcp", "tls", "proxy"])
async def test_a_connection_without_a_byte_is_no_failure(
    serve: Serve, files: Tls, door: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A load balancer looks whether somebody listens."""
    context = Certificates(files).context if door == "tls" else None
    served = await serve(context=context, proxy=door == "proxy")
    with caplog.at_level(logging.DEBUG):
        for reset in (False, True):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            if reset:
                writer.transport.abort()
            writer.close()
        await asyncio.sleep(0.1)
    assert served.node.stats.refused == {}
    assert not served.handshakes.failures
    assert [each.getMessage() for each in caplog.records if each.name.startswith(("apps", "gmqtt"))] == []
    assert served.node.stats.disconnects == 0


async def test_old_devices_only_with_a_warning(
    serve: Serve, files: Tls, certificates: certs.Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    modern = await serve(context=Certificates(Tls(files.cert, files.key)).context)
    assert not caplog.records
    lenient = Tls(files.cert, files.key, min_version="1.0", security_level=0)
    found = Certificates(lenient)
    assert "TLS for old devices is on (TLS 1.0, security level 0)" in caplog.text
    served = await serve(context=found.context)
    old = certificates.context()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1
    assert await comes_in(served.port, old)
    assert await comes_in(modern.port, old) is None
    await counted(modern, "protocol_version")
