"""Starting a node: what it says, how long it takes, and how it refuses what it cannot do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, environment
from tests.wire.programs import find, needs
from tests.wire.raw import V5, Raw, RawWebSocket

Refuse = Callable[..., str]


@pytest.fixture
def refuse(template: Path) -> Refuse:
    """Start a node that cannot start; what it says about that, in one line."""

    def run(*prefix: str, **settings: str) -> str:
        command = [*prefix, sys.executable, str(ROOT / "manage.py"), "rungateway"]
        done = subprocess.run(
            command,
            env=environment(template, **settings),
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        return done.stderr

    return run


@pytest.mark.parametrize(
    ("key", "scheme"),
    [("TCP", "tcp://"), ("TLS", "mqtts://"), ("HTTP", ""), ("HTTPS", "")],
)
def test_a_port_in_use(refuse: Refuse, tls_settings: dict[str, str], key: str, scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        said = refuse(**tls_settings | {f"LISTENERS__{key}": scheme + address})
    assert f"listeners.{key.lower()}" in said
    assert f"GMQTT_LISTENERS__{key}" in said
    assert address in said
    assert "another process" in said


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"LISTENERS__TCP": "tcp://192.0.2.1:0", "AUTH__ALLOW_ANONYMOUS": "true"}, "192.0.2.1"),
        ({"LISTENERS__TCP": "tcp://[2001:db8::1]:0", "AUTH__ALLOW_ANONYMOUS": "true"}, "2001:db8::1"),
        ({"LISTENERS__HTTP": "192.0.2.1:0", "AUTH__ALLOW_ANONYMOUS": "true"}, "192.0.2.1"),
    ],
)
def test_an_address_of_another_machine(refuse: Refuse, settings: dict[str, str], found: str) -> None:
    said = refuse(**settings)
    (key,) = [name for name in settings if name.startswith("LISTENERS")]
    assert f"GMQTT_{key}" in said
    assert found in said


@needs("setpriv")
def test_a_port_that_only_root_may_use(refuse: Refuse) -> None:
    unprivileged = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if unprivileged.exists() and int(unprivileged.read_text()) <= 1:
        pytest.skip("this system lets everybody use every port")
    prefix = [find("setpriv"), "--bounding-set=-net_bind_service"] if os.geteuid() == 0 else []
    said = refuse(*prefix, LISTENERS__TCP="tcp://127.0.0.1:1")
    assert "GMQTT_LISTENERS__TCP" in said
    assert "Permission denied" in said


@pytest.mark.parametrize(
    "value",
    [
        "127.0.0.1:1883",
        "udp://127.0.0.1:1883",
        "tcp://127.0.0.1",
        "tcp://127.0.0.1:65536",
        "tcp://:x",
        "tcp://",
    ],
)
def test_a_listener_that_is_none(refuse: Refuse, value: str) -> None:
    said = refuse(LISTENERS__TCP=value)
    assert "GMQTT_LISTENERS__TCP" in said
    assert "tcp://host:port" in said


def test_an_open_door_without_authentication(refuse: Refuse) -> None:
    said = refuse(LISTENERS__TCP="tcp://0.0.0.0:0")
    assert "GMQTT_LISTENERS__TCP" in said
    assert "auth.allow_anonymous" in said


def test_a_certificate_without_its_key(refuse: Refuse, certificates: Certificates) -> None:
    said = refuse(
        LISTENERS__TLS="mqtts://127.0.0.1:0",
        LISTENERS__TLS_CERT=str(certificates.server),
        LISTENERS__TLS_KEY=str(certificates.client_key),
    )
    assert "listeners.tls_cert" in said
    assert str(certificates.client_key) in said


def test_several_listeners_of_a_kind(start: Start) -> None:
    node = start(LISTENERS__TCP="tcp://127.0.0.1:0,tcp://[::1]:0,mqtt://localhost:0")
    assert node.output.count("tcp://") == 3
    assert "tcp://[::1]:" in node.output
    with Raw(node.tcp) as client:
        client.connect(V5, "c")


def test_it_says_where_everything_is_and_nothing_else(start: Start) -> None:
    node = start()
    lines = node.output.splitlines()
    assert [line[:20].strip() for line in lines] == [
        "MQTT",
        "MQTT over WebSocket",
        "Admin",
        "Web client",
        "Health",
        "Core",
    ]
    with Raw(node.tcp) as client, RawWebSocket(node.ws) as browser:
        client.connect(V5, "c")
        browser.connect(V5, "b")
    node.signal()
    assert node.wait(5) == 0
    assert node.log() == ""


def test_the_second_start_takes_under_five_seconds(template: Path, tmp_path: Path) -> None:
    with Node(tmp_path / "data", template):
        pass
    begun = time.monotonic()
    with Node(tmp_path / "data") as node, Raw(node.tcp) as client:
        client.connect(V5, "c")
        assert time.monotonic() - begun < 5


def test_two_nodes_share_a_port(start: Start) -> None:
    first = start(LISTENERS__REUSE_PORT="true")
    second = start(LISTENERS__REUSE_PORT="true", LISTENERS__TCP=f"tcp://127.0.0.1:{first.tcp}")
    assert second.tcp == first.tcp
    for number in range(20):
        with Raw(first.tcp) as client:
            client.connect(V5, f"c{number}")
