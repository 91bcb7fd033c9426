"""Behind real proxies, by a public name: who the client is, where pages lead, what a drain does."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.wire import shipped
from tests.wire.certs import PUBLIC, Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.programs import needs
from tests.wire.raw import V5, Raw, RawWebSocket, Refused, ends_in_order
from tests.wire.shipped import Proxy

NAME = PUBLIC


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


@pytest.fixture(scope="module")
def fronted(
    template: Path, tls_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A node behind the shipped files, as these say that it has to be."""
    settings = {
        **tls_settings,
        "HTTP__PUBLIC_URLS": f"https://{PUBLIC}",
        "HTTP__TRUSTED_PROXIES": "127.0.0.1/32",
        "LISTENERS__PROXY_PROTOCOL": "true",
        "LOG__LEVEL": "debug",
    }
    with Node(tmp_path_factory.mktemp("fronted") / "data", template, **settings) as started:
        yield started
    assert not started.trouble(), started.trouble()


PROGRAMS = [pytest.param(each, marks=needs(each)) for each in ("haproxy", "nginx")]


@pytest.fixture(params=PROGRAMS)
def front(
    request: pytest.FixtureRequest, fronted: Node, certificates: Certificates, tmp_path: Path
) -> Iterator[Proxy]:
    """The real program with the shipped file."""
    start = {"haproxy": shipped.haproxy, "nginx": shipped.nginx}[request.param]
    with start([fronted], certificates, tmp_path / request.param) as proxy:
        yield proxy


@pytest.fixture(params=PROGRAMS)
def impatient(
    request: pytest.FixtureRequest, fronted: Node, certificates: Certificates, tmp_path: Path
) -> Iterator[Proxy]:
    """The same, but that HAProxy gives up after one second what it gives up after 60."""
    if request.param == "nginx":
        with shipped.nginx([fronted], certificates, tmp_path / "nginx") as proxy:
            yield proxy
        return
    sooner = {"timeout client 60s": "timeout client 1s", "timeout server 60s": "timeout server 1s"}
    with shipped.haproxy([fronted], certificates, tmp_path / "haproxy", sooner) as proxy:
        yield proxy


@pytest.mark.parametrize(("to", "source"), [("127.0.0.1", "127.0.0.5"), ("::1", "::1")], ids=["IPv4", "IPv6"])
def test_every_door_of_the_shipped_files(
    impatient: Proxy, fronted: Node, certificates: Certificates, to: str, source: str
) -> None:
    """The client's own address is known on each way, and silence does not end its connection."""
    context = certificates.context()
    way: dict[str, Any] = {"to": to, "source": source}
    with contextlib.ExitStack() as stack:
        clients = {
            ("mqtt", "tcp"): Raw(impatient.mqtt, **way),
            ("passed", "tls"): Raw(impatient.passed, context, **way),
            ("ended", "t(cp|ls)"): Raw(impatient.ended, context, **way),  # nginx cannot tell
            ("web", "wss"): RawWebSocket(
                impatient.https, context, host=PUBLIC, origin=f"https://{PUBLIC}", **way
            ),
        }
        for (door, transport), client in clients.items():
            stack.enter_context(client)
            address, port = client.sock.getsockname()[:2]
            name = f"{door}-{port}"
            client.connect(V5, name)
            line = rf"client '{name}' connected from {re.escape(address)}:\d+ \({transport}\)"
            until(lambda line=line: re.search(line, fronted.log()), 10, line)
        time.sleep(2.5)  # nobody says anything
        for client in clients.values():
            client.ping()


@pytest.mark.parametrize("first", ["the node", "the client", "both"])
def test_websockets_end_in_order(front: Proxy, certificates: Certificates, first: str) -> None:
    """MQTT.js waits for the end of the connection before it says that it has disconnected."""
    with RawWebSocket(front.https, certificates.context(), host=PUBLIC) as client:
        client.connect(V5, "orderly")
        assert ends_in_order(client, first) == 1000


def test_pages_of_the_shipped_files(front: Proxy, fronted: Node, certificates: Certificates) -> None:
    """Redirects stay at the public name, cookies are for HTTPS alone; what a client claims is overwritten."""
    forged = {
        "X-Forwarded-For": "203.0.113.66",
        "Forwarded": "for=203.0.113.66",
        "X-Forwarded-Host": "evil.example",
    }
    status, headers, _ = ask(front.plain, "/admin/?a=1", PUBLIC)
    assert (status, headers["location"]) == (308, f"https://{PUBLIC}/admin/?a=1")
    assert ask(front.plain, "/", "evil.example")[1].get("location") in (None, f"https://{PUBLIC}/")
    context = certificates.context()
    status, headers, _ = ask(front.https, "/admin/", PUBLIC, context, forged)
    assert (status, headers["location"]) == (302, "/admin/login/?next=/admin/")
    status, headers, _ = ask(front.https, "/admin/login/", PUBLIC, context, forged)
    assert status == 200
    assert "Secure" in headers["set-cookie"]
    assert ask(front.https, "/admin/login/", "evil.example", context)[0] == 400
    with RawWebSocket(
        front.https, context, host=PUBLIC, headers=("X-Forwarded-For: 203.0.113.66",), source="127.0.0.5"
    ) as client:
        client.connect(V5, "forger")
    until(lambda: "client 'forger' connected from 127.0.0.5:" in fronted.log())
    assert "203.0.113.66" not in fronted.log()
    with pytest.raises(Refused):
        RawWebSocket(front.https, context, host=PUBLIC, origin="https://evil.example")


def test_a_balancers_checks_are_no_failures(front: Proxy, fronted: Node) -> None:
    """HAProxy has been asking; bare connects are what others do."""
    said = len(fronted.log())
    for port in (fronted.tcp, fronted.tls, fronted.ws, fronted.wss):
        for _ in range(5):
            shipped.answers(port)
    time.sleep(0.5)
    assert "refused" not in fronted.log()[said:]
    assert "handshake" not in fronted.log()[said:]


def ask(
    port: int,
    path: str,
    host: str,
    context: ssl.SSLContext | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], str]:
    connection: http.client.HTTPConnection
    if context is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    connection.request("GET", path, headers={"Host": host, **(headers or {})})
    answer = connection.getresponse()
    found = (answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
    connection.close()
    return found


@needs("haproxy", "nginx")
def test_the_shipped_files_are_valid(certificates: Certificates, tmp_path: Path) -> None:
    """As a whole, with both nodes."""
    node = SimpleNamespace(tcp=1, tls=2, ws=3)
    with shipped.haproxy([node, node], certificates, tmp_path / "h") as one:  # type: ignore[list-item]
        assert one.process.poll() is None
    with shipped.nginx([node, node], certificates, tmp_path / "n") as other:  # type: ignore[list-item]
        assert other.process.poll() is None


def test_what_a_balancer_asks(node: Node) -> None:
    assert get(node.ws, "/readyz/balancer")[0] == 200
