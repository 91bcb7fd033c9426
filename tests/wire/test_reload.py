"""SIGHUP and renewed certificates: new connections get what is new, nobody is disconnected."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.wire import certs
from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.raw import V5, Closed, Raw, RawWebSocket


@pytest.fixture
def files(tmp_path: Path, certificates: Certificates) -> Path:
    """A certificate that the test may replace."""
    directory = tmp_path / "served"
    directory.mkdir()
    shutil.copy(certificates.server, directory / "cert.pem")
    shutil.copy(certificates.server_key, directory / "key.pem")
    return directory


def serial(port: int) -> int:
    from cryptography import x509

    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


def tls_node(start: Start, files: Path) -> Node:
    return start(
        LISTENERS__TLS="mqtts://127.0.0.1:0",
        LISTENERS__HTTPS="127.0.0.1:0",
        LISTENERS__TLS_CERT=str(files / "cert.pem"),
        LISTENERS__TLS_KEY=str(files / "key.pem"),
    )


def by_hup(node: Node) -> None:
    node.signal(signal.SIGHUP)


def by_itself(node: Node) -> None:
    """The node looks at the files every five seconds."""


@pytest.mark.parametrize("told", [by_hup, by_itself])
def test_a_renewed_certificate(
    start: Start, files: Path, tmp_path: Path, certificates: Certificates, told: Callable[[Node], None]
) -> None:
    node = tls_node(start, files)
    old = serial(node.tls)
    assert serial(node.wss) == old
    client = Raw(node.tls, certificates.context())
    client.connect(V5, "stays")
    renewed = certs.make(tmp_path)
    shutil.copy(renewed.server_key, files / "key.pem")
    shutil.copy(renewed.server, files / "cert.pem")
    told(node)
    until(lambda: serial(node.tls) != old, 15)
    until(lambda: serial(node.wss) == serial(node.tls), 15)
    client.ping()
    client.close()
    with RawWebSocket(node.wss, renewed.context()) as late:
        late.connect(V5, "late")


def test_a_client_ca_that_was_replaced_is_not_trusted(
    start: Start, files: Path, tmp_path: Path, certificates: Certificates
) -> None:
    shutil.copy(certificates.ca, files / "ca.pem")
    node = start(
        LISTENERS__TLS="mqtts://127.0.0.1:0",
        LISTENERS__TLS_CERT=str(files / "cert.pem"),
        LISTENERS__TLS_KEY=str(files / "key.pem"),
        LISTENERS__TLS_CLIENT_CA=str(files / "ca.pem"),
        LISTENERS__TLS_CLIENT_AUTH="required",
    )
    node.quiet = False

    def comes_in(shown: Certificates) -> bool:
        context = ssl.create_default_context(cafile=str(certificates.ca))
        context.load_cert_chain(shown.client, shown.client_key)
        try:
            with Raw(node.tls, context) as client:
                client.connect(V5, "device-7")
        except (Closed, OSError):
            return False
        return True

    assert comes_in(certificates)
    others = certs.make(tmp_path)
    assert not comes_in(others)
    shutil.copy(others.ca, files / "ca.pem")
    node.signal(signal.SIGHUP)
    until(lambda: "certificate read again" in node.log())
    assert comes_in(others)
    assert not comes_in(certificates)


def test_a_broken_certificate_is_not_used(start: Start, files: Path) -> None:
    node = tls_node(start, files)
    node.quiet = False
    old = serial(node.tls)
    (files / "cert.pem").write_text("-----BEGIN CERTIFICATE-----\nhalf of one")
    node.signal(signal.SIGHUP)
    until(lambda: "the new certificate is not used" in node.log())
    assert serial(node.tls) == serial(node.wss) == old


def conf_file(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    os.replace(draft, path)


def test_hup_reads_the_configuration_again(start: Start, tmp_path: Path) -> None:
    conf = tmp_path / "conf.toml"
    conf_file(conf, "[limits]\nmax_subscriptions = 5\n")
    node = start(CONF=str(conf))
    node.quiet = False
    with Raw(node.tcp) as client:
        client.connect(V5, "client")
        client.subscribe(V5, *"abcde")
        conf_file(conf, '[limits]\nmax_subscriptions = 6\n[node]\nname = "another"\n')
        node.signal(signal.SIGHUP)
        until(lambda: "needs a restart: node.name" in node.log())
        assert "in force: limits.max_subscriptions" in node.log()
        client.subscribe(V5, "f")
        conf_file(conf, "[limits]\nmax_subscriptions = many\n")
        for _ in range(3):  # in the middle of one another, too
            node.signal(signal.SIGHUP)
        until(lambda: "was not read again" in node.log())
        client.ping()
        time.sleep(0.1)
        client.subscribe(V5, "a")
