"""PROXY protocol before HTTP, and that limits and records go by the address that a proxy tells."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import sqlite3
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmqtt_platform import local
from tests.wire import nodes
from tests.wire.certs import Certificates
from tests.wire.nodes import Node, until
from tests.wire.proxies import v1, v2
from tests.wire.raw import V5, Closed, Raw, RawWebSocket, Refused, connect, text

SSL = b"\x20\0\5\1\0\0\0\0"  # PP2_TYPE_SSL: the client speaks TLS with the proxy
CAST = """
from django.contrib.auth.models import User
from apps.auth.services import registering
from apps.common.actors import SYSTEM
User.objects.create_superuser("alice", password="correct horse battery staple")
new = registering.NewClient(client_id="pump-1", username="pump-1", password="pump secret")
registering.register(SYSTEM, new)
"""


@pytest.fixture(scope="module")
def node(
    template: Path,
    tls_settings: dict[str, str],
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("introduced")
    shutil.copytree(template, directory / "cast")
    nodes.manage(directory / "cast", "shell", "--no-imports", "-c", CAST)
    settings = {
        **tls_settings,
        "LISTENERS__PROXY_PROTOCOL": "true",
        "HTTP__PROXY_PROTOCOL": "true",
        "HTTP__TRUSTED_PROXIES": "127.0.0.1/32,10.0.0.0/8",
        "AUTH__CLIENT": "django,mock",
        "AUTH__GUARD__EXEMPT": "192.0.2.0/24",
        "AUTH__GUARD__FAILURES_PER_ADDRESS": "3",
        "LOG__LEVEL": "debug",
    }
    with Node(directory / "data", directory / "cast", **settings) as started:
        yield started
    assert not started.trouble(), started.trouble()


def recorded(node: Node, name: str, address: str, transport: str) -> None:
    line = rf"client '{name}' connected from {re.escape(address)}:\d+ \({transport}\)"
    until(lambda: re.search(line, node.log()), 10, line)


def ask(
    node: Node, path: str, preamble: bytes = v1(), headers: dict[str, str] | None = None, body: str = ""
) -> tuple[int, http.client.HTTPMessage, str]:
    connection = http.client.HTTPConnection("127.0.0.1", node.ws, timeout=20)
    connection.connect()
    connection.sock.sendall(preamble)
    connection.request("POST" if body else "GET", path, body or None, headers or {})
    answer = connection.getresponse()
    found = (answer.status, answer.headers, answer.read().decode())
    connection.close()
    return found


@pytest.mark.parametrize("door", ["ws", "wss"])
@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
@pytest.mark.parametrize("header", [v1, v2], ids=["v1", "v2"])
def test_before_websockets(
    node: Node, certificates: Certificates, door: str, address: str, header: object
) -> None:
    assert callable(header)
    context = certificates.context() if door == "wss" else None
    name = f"{door}-{header.__name__}-{'six' if ':' in address else 'four'}"
    with RawWebSocket(getattr(node, door), context, preamble=header(address)) as client:
        client.connect(V5, name)
    recorded(node, name, address, door)


def test_headers_are_its_word_whom_the_proxy_names(node: Node) -> None:
    """Both: whoever wrote X-Forwarded-For is who stands in the PROXY header, and is he to be believed?"""
    said = ("X-Forwarded-For: 198.51.100.1", "X-Forwarded-Proto: https")
    for name, preamble, address, transport in (
        ("forger", v1("203.0.113.7"), "203.0.113.7", "ws"),
        ("through-two", v1("10.1.2.3"), "198.51.100.1", "wss"),
        ("by-headers", b"PROXY UNKNOWN\r\n", "198.51.100.1", "wss"),
        ("local", v2(command=0), "198.51.100.1", "wss"),
    ):
        with RawWebSocket(node.ws, preamble=preamble, headers=said) as client:
            client.connect(V5, name)
        recorded(node, name, address, transport)


def test_the_proxy_tells_that_it_ended_tls(node: Node) -> None:
    assert "Secure" in ask(node, "/admin/login/", v2(extra=SSL))[1]["set-cookie"]
    assert "Secure" not in ask(node, "/admin/login/", v2())[1]["set-cookie"]
    with RawWebSocket(node.ws, preamble=v2(extra=SSL)) as client:
        client.connect(V5, "ended-before")
    recorded(node, "ended-before", "203.0.113.7", "wss")


def test_who_is_no_proxy_needs_no_header_and_may_send_none(node: Node) -> None:
    with RawWebSocket(node.ws, source="127.0.0.2", headers=("X-Forwarded-For: 198.51.100.1",)) as client:
        client.connect(V5, "direct")
    recorded(node, "direct", "127.0.0.2", "ws")
    with pytest.raises((Refused, Closed)):
        RawWebSocket(node.ws, source="127.0.0.2", preamble=v1())


@pytest.mark.parametrize(
    "data",
    [
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 1.2.3 4\r\n",
        b"PROXY " + b"1" * 200,
        v2()[:12] + b"\x31" * 20,
    ],
)
def test_bad_headers_end_the_connection(node: Node, data: bytes) -> None:
    with Raw(node.ws) as client:
        client.send(data)
        assert client.closing() == []
    assert "HTTP connection from 127.0.0.1 refused" in node.log()


def test_commands_of_this_host_reach_the_node(node: Node, certificates: Certificates) -> None:
    context = certificates.context()
    for place in (
        local.Local(f"http://127.0.0.1:{node.ws}", None, True),
        local.Local(f"https://127.0.0.1:{node.wss}", context, True),
    ):
        with urllib.request.build_opener(*place.handlers()).open(
            f"{place.url}/healthz", timeout=20
        ) as answer:
            assert json.load(answer)["status"] == "ok"


def refusal(node: Node, preamble: bytes, password: str) -> int:
    """The reason code that the client hears."""
    packet = connect(V5, "pump-1")
    body = bytearray(packet[2:])
    body[7] |= 0xC0  # user name and password
    body += text("pump-1") + text(password)
    with Raw(node.tcp, preamble=preamble) as client:
        client.send(bytes([0x10, len(body)]) + bytes(body))
        first, answer = client.packet()
        assert first == 0x20
        return int(answer[1])


@pytest.mark.parametrize("address", ["203.0.113.50", "10.1.2.50", "2001:db8:50::1"])
def test_the_guard_counts_who_comes_through_a_proxy(node: Node, address: str) -> None:
    """Also one whose address lies in the proxies' network: it is not the proxy's."""
    codes = [refusal(node, v1(address), f"wrong {n}") for n in range(3)]
    assert set(codes) <= {0x86, 0x87}, codes
    until(lambda: refusal(node, v1(address), "pump secret") in (0x8A, 0x9F), 5)
    other = "203.0.113.51" if "." in address else "2001:db8:51::1"
    assert refusal(node, v1(other), "pump secret") == 0


def test_the_guard_does_not_count_the_proxy_itself(node: Node) -> None:
    for n in range(4):
        assert refusal(node, v2(command=0), f"wrong {n}") != 0x9F
    assert refusal(node, v2(command=0), "pump secret") == 0


def cookies(headers: http.client.HTTPMessage) -> dict[str, str]:
    return dict(each.partition(";")[0].split("=", 1) for each in headers.get_all("Set-Cookie") or ())


def sign_in(node: Node, address: str, password: str) -> tuple[int, dict[str, str]]:
    """The status, and the cookies afterwards."""
    _, headers, page = ask(node, "/admin/login/", v1(address))
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert token is not None
    form = {"csrfmiddlewaretoken": token[1], "username": "alice", "password": password, "next": "/admin/"}
    head = {"Cookie": f"csrftoken={cookies(headers)['csrftoken']}"}
    head["Content-Type"] = "application/x-www-form-urlencoded"
    status, headers, _ = ask(node, "/admin/login/", v1(address), head, urllib.parse.urlencode(form))
    return status, cookies(headers)


def test_lockout_audit_and_bans_go_by_the_address_that_the_proxy_tells(node: Node) -> None:
    right = "correct horse battery staple"
    for _ in range(5):
        locked, _ = sign_in(node, "203.0.113.60", "wrong")
    assert locked in (403, 429)
    assert sign_in(node, "203.0.113.60", right)[0] in (403, 429)
    status, found = sign_in(node, "203.0.113.61", right)
    assert status == 302

    head = {
        "Cookie": f"csrftoken={found['csrftoken']}; sessionid={found['sessionid']}",
        "X-CSRFToken": found["csrftoken"],
        "Content-Type": "application/json",
    }
    ban = json.dumps({"kind": "address", "value": "198.51.100.77"})
    status, _, answer = ask(node, "/api/v1/bans/", v1("203.0.113.61"), head, ban)
    assert status == 201, answer
    with sqlite3.connect(node.data_dir / "db.sqlite3") as database:
        rows = database.execute("SELECT remote_addr FROM auditlog_logentry").fetchall()
    assert ("203.0.113.61",) in rows

    def refused(address: str) -> bool:
        with RawWebSocket(node.ws, preamble=v1(address)) as client:
            client.send(connect(V5, "whoever"))
            return bool(client.packet()[1][1] == 0x8A)

    until(lambda: refused("198.51.100.77"), 10)
    assert not refused("198.51.100.78")
    with Raw(node.tcp, preamble=v2("198.51.100.77")) as client:
        client.send(connect(V5, "whoever"))
        assert client.packet()[1][1] == 0x8A


def test_metrics_ask_for_a_token_through_a_proxy_too(node: Node) -> None:
    assert ask(node, "/metrics", v1())[0] == 401
    assert ask(node, "/metrics", b"PROXY UNKNOWN\r\n", {"X-Forwarded-For": "127.0.0.1"})[0] == 401
    token = (node.data_dir / "metrics_token").read_text().strip()
    status, _, page = ask(node, "/metrics", v1(), {"Authorization": f"Bearer {token}"})
    assert status == 200
    assert 'gmqtt_certificate_expiry_timestamp_seconds{file="' in page
    listeners = set(re.findall(r'expiry_timestamp_seconds\{file="[^"]+",listener="(\w+)"', page))
    assert listeners == {"tls", "https"}


def test_failed_handshakes_of_https_are_told(node: Node) -> None:
    suspicious = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", node.wss), 20) as plain:
        plain.sendall(v1("203.0.113.70"))
        with pytest.raises(ssl.SSLError):
            suspicious.wrap_socket(plain, server_hostname="localhost")
    until(lambda: "TLS handshake with 203.0.113.70 failed (refused_by_client)" in node.log(), 10)
    with Raw(node.wss, preamble=v1("203.0.113.71")) as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        client.closing()
    until(lambda: "TLS handshake with 203.0.113.71 failed (not_tls)" in node.log(), 10)
