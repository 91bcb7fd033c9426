"""The PROXY protocol before MQTT and before TLS, by hand and from HAProxy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until
from tests.wire.programs import find, needs
from tests.wire.proxies import SIGNATURE, v1, v2
from tests.wire.raw import V5, V311, Raw, connect

TRUSTING = {"LISTENERS__PROXY_PROTOCOL": "true", "LOG__LEVEL": "debug", "LIMITS__CONNECT_TIMEOUT": "2"}


@pytest.fixture(scope="module")
def behind(
    template: Path, tls_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """A node that trusts proxies on this machine, as it does by default."""
    with Node(tmp_path_factory.mktemp("behind") / "data", template, **tls_settings, **TRUSTING) as node:
        yield node
    assert not node.trouble()


def recorded(node: Node, client_id: str, address: str, port: int, transport: str = "tcp") -> None:
    line = f"client {client_id!r} connected from {address}:{port} ({transport})"
    until(lambda: line in node.log(), 5, f"{line!r} not in {node.log()}")


ADDRESSES = [("203.0.113.7", 4711), ("2001:db8::7", 65535)]
TLV = b"\x04\x0f\xa0" + bytes(4000)


@pytest.mark.parametrize(("address", "port"), ADDRESSES)
@pytest.mark.parametrize("kind", ["v1", "v2", "v2 with much else"])
def test_the_real_address_is_recorded(behind: Node, kind: str, address: str, port: int) -> None:
    header = v1(address, port) if kind == "v1" else v2(address, port, TLV if "much" in kind else b"")
    client_id = f"{kind}-{address}"
    with Raw(behind.tcp, preamble=header) as client:
        client.connect(V5, client_id)
        client.ping()
    recorded(behind, client_id, address, port)


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_before_tls(behind: Node, certificates: Certificates, header: bytes) -> None:
    client_id = f"tls-{len(header)}"
    with Raw(behind.tls, certificates.context(), preamble=header) as client:
        client.connect(V5, client_id)
        client.ping()
    recorded(behind, client_id, "203.0.113.7", 4711, "tls")


@pytest.mark.parametrize("header", [v1(), v2(extra=TLV)], ids=["v1", "v2"])
def test_header_and_packets_in_any_pieces(behind: Node, header: bytes) -> None:
    data = header + connect(V311, f"pieces-{len(header)}") + b"\xc0\0"
    step = max(1, len(data) // 40)
    with Raw(behind.tcp) as client:
        for start in range(0, len(data), step):
            client.send(data[start : start + step])
            time.sleep(0.005)
        assert client.packet()[0] == 0x20
        assert client.packet()[0] == 0xD0
    with Raw(behind.tcp) as client:  # all in one
        client.send(data)
        assert client.packet()[0] == 0x20
        assert client.packet()[0] == 0xD0


@pytest.mark.parametrize(
    ("header", "name"), [(b"PROXY UNKNOWN\r\n", "unknown"), (v2(command=0), "local")], ids=lambda x: x
)
def test_a_proxy_that_speaks_for_itself(behind: Node, header: bytes, name: str) -> None:
    with Raw(behind.tcp, preamble=header) as client:
        own = client.sock.getsockname()
        client.connect(V311, name)
        client.ping()
    recorded(behind, name, *own)


BAD = {
    "no header": connect(V311, "intruder"),
    "two headers": v1() + v1() + connect(V311, "intruder"),
    "an address that is none": b"PROXY TCP4 203.0.113.777 192.0.2.1 4711 1883\r\n",
    "a port that is none": b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 1883\r\n",
    "a port with a sign": b"PROXY TCP4 203.0.113.7 192.0.2.1 +711 1883\r\n",
    "IPv6 as TCP4": b"PROXY TCP4 2001:db8::7 2001:db8::1 4711 1883\r\n",
    "a part too few": b"PROXY TCP4 203.0.113.7 192.0.2.1 4711\r\n",
    "no end of line in 107 bytes": b"PROXY TCP4 " + b"1" * 200,
    "a wrong signature": SIGNATURE[:-1] + b"X" + bytes(16),
    "version 3": SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    "an unknown command": SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
    "UDP": SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
    "addresses cut short": SIGNATURE + b"\x21\x11\0\x04" + bytes(4),
    "64 KB announced": SIGNATURE + b"\x21\x11\xff\xff" + bytes(100),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_headers_that_are_refused(behind: Node, data: bytes) -> None:
    begun = time.monotonic()
    with Raw(behind.tcp) as client:
        client.send(data)
        assert client.closing() == []
    assert time.monotonic() - begun < 1
    with Raw(behind.tcp, preamble=v1()) as other:
        other.connect(V5, "other")


def test_headers_that_do_not_come_are_not_waited_for(behind: Node) -> None:
    """They have the connect timeout, and to wait for them costs little."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(behind.tcp)) for _ in range(50)]
        for number, client in enumerate(clients):
            client.send((b"", b"PROXY TCP4 203.0", v2()[:20])[number % 3])
        before = behind.cpu()
        time.sleep(1)
        assert behind.cpu() - before < 0.5
        begun = time.monotonic()
        for client in clients:
            assert client.closing() == []
        assert time.monotonic() - begun < 3


@pytest.mark.parametrize("door", ["tcp", "tls"])
def test_a_peer_that_is_not_trusted_is_refused(
    start: Start, tls_settings: dict[str, str], certificates: Certificates, door: str
) -> None:
    node = start(**tls_settings, **TRUSTING, LISTENERS__TRUSTED_PROXIES="192.0.2.0/24")
    with Raw(node.tls if door == "tls" else node.tcp) as client:
        with contextlib.suppress(OSError):  # reset
            client.send(v2() + connect(V5, "intruder"))
        assert client.closing() == []
    assert "intruder" not in node.log()
    assert "not a trusted proxy" in node.log()


def test_a_header_where_none_is_expected_is_no_mqtt(node: Node) -> None:
    with Raw(node.tcp) as client:
        client.send(v1() + connect(V5, "c"))
        assert client.closing() == []


# HAProxy --------------------------------------------------------------------------------------------

HAPROXY = """
global
    maxconn 200
defaults
    mode tcp
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend plain
    bind fd@{plain}
    default_backend plain
backend plain
    server node 127.0.0.1:{tcp} {send} check inter 100ms
frontend secure
    bind fd@{secure}
    default_backend secure
backend secure
    server node 127.0.0.1:{tls} {send}
"""


@pytest.fixture(params=["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"])
def haproxy(request: pytest.FixtureRequest, behind: Node, tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The ports of an HAProxy before the node: (plain, TLS passed through)."""
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as secure:
        conf = tmp_path / "haproxy.cfg"
        conf.write_text(
            HAPROXY.format(
                plain=plain.fileno(),
                secure=secure.fileno(),
                tcp=behind.tcp,
                tls=behind.tls,
                send=request.param,
            )
        )
        command = [find("haproxy"), "-db", "-f", str(conf)]
        process = subprocess.Popen(
            command, pass_fds=(plain.fileno(), secure.fileno()), stderr=subprocess.PIPE, text=True
        )
        with process:
            yield plain.getsockname()[1], secure.getsockname()[1]
            process.terminate()


@needs("haproxy")
def test_behind_haproxy(behind: Node, haproxy: tuple[int, int], certificates: Certificates) -> None:
    for port, context, transport in (
        (haproxy[0], None, "tcp"),
        (haproxy[1], certificates.context(), "tls"),
    ):
        with Raw(port, context) as client:
            own = client.sock.getsockname()
            client.connect(V5, f"behind-haproxy-{own[1]}")
            client.subscribe(V5, "t", qos=1)
            client.ping()
        recorded(behind, f"behind-haproxy-{own[1]}", *own, transport)
