"""Behind real proxies, by a public name: who the client is, where pages lead, what a drain does."""

from __future__ import annotations

import http.client
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire import fronts
from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.programs import find, needs
from tests.wire.raw import V5, RawWebSocket

NAME = "mqtt.example.test"


@pytest.fixture
def node(start: Start) -> Node:
    return start(
        HTTP__PUBLIC_URLS=f"https://{NAME}",
        HTTP__TRUSTED_PROXIES="127.0.0.1/32",
        LOG__LEVEL="debug",
    )


def get(port: int, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={key.replace("_", "-"): value for key, value in headers.items()})
    answer = connection.getresponse()
    found = (answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    connection.close()
    return found


def test_a_public_name_is_served_and_others_are_not(node: Node) -> None:
    assert get(node.ws, "/admin/login/", Host=NAME)[0] == 200
    assert get(node.ws, "/admin/login/", Host="127.0.0.1")[0] == 200
    assert get(node.ws, "/admin/login/", Host="evil.example")[0] == 400
    assert get(node.ws, "/admin/login/", Host="127.0.0.1", X_Forwarded_Host="evil.example")[0] == 400


def test_cookies_are_secure_where_the_proxy_has_tls(node: Node) -> None:
    _, headers, _ = get(node.ws, "/admin/login/", Host=NAME, X_Forwarded_Proto="https")
    assert "Secure" in headers["set-cookie"]
    _, headers, _ = get(node.ws, "/admin/login/", Host="127.0.0.1")
    assert "Secure" not in headers["set-cookie"]


@pytest.fixture
def nginx(node: Node, certificates: Certificates, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx with the shipped server block: TLS ends there."""
    front = fronts.nginx(tmp_path, certificates, node.ws, NAME)
    yield front.ports["wss"]
    front.stop()


@needs("nginx")
def test_behind_the_shipped_nginx(node: Node, nginx: int, certificates: Certificates) -> None:
    """The WebSocket client's address is its own, and its transport is TLS."""
    with RawWebSocket(nginx, certificates.context()) as client:
        own = client.sock.getsockname()
        client.connect(V5, "behind-nginx")
        client.ping()
        assert own
    until(lambda: "behind-nginx" in node.log())
    line = next(line for line in node.log().splitlines() if "behind-nginx" in line and "wss" in line)
    assert "127.0.0.1" in line


@needs("haproxy")
def test_the_shipped_haproxy_conf_is_valid() -> None:
    done = subprocess.run(
        [find("haproxy"), "-c", "-f", str(ROOT / "conf" / "haproxy.cfg")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_what_a_balancer_asks(node: Node) -> None:
    assert get(node.ws, "/readyz/balancer")[0] == 200
