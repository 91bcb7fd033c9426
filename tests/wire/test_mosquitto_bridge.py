"""A mosquitto that is configured as a bridge to a node, as its manual shows it."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest

from tests.wire.nodes import Node, until
from tests.wire.programs import find, needs

pytestmark = needs("mosquitto")
VERSIONS = ("mqttv31", "mqttv311", "mqttv50")
TIMEOUT = 15.0  # seconds

Bridge = Callable[..., "Mosquitto"]


class Reader:
    """Everything that a broker sends on what is not its own data."""

    def __init__(self, port: int, *filters: str) -> None:
        self.got: list[tuple[str, bytes, int, bool]] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        granted: list[int] = []
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: granted.append(1)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        for filter in filters:
            self.client.subscribe(filter, 2)
        until(lambda: len(granted) == len(filters), TIMEOUT)

    def _on_message(self, client: mqtt.Client, data: object, message: mqtt.MQTTMessage) -> None:
        self.got.append((message.topic, message.payload, message.qos, message.retain))

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        self.client.publish(topic, payload, qos, retain).wait_for_publish(TIMEOUT)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


class Mosquitto:
    """A mosquitto with this configuration, listening."""

    def __init__(self, directory: Path, *lines: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        text = (f"listener {self.port} 127.0.0.1", "allow_anonymous true", *lines)
        config = directory / "mosquitto.conf"
        config.write_text("\n".join(text) + "\n")
        self._log = directory / "mosquitto.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [find("mosquitto"), "-v", "-c", str(config)], stdout=log, stderr=log
            )
        until(self._is_listening, TIMEOUT)

    def _is_listening(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return self._log.read_text()


@pytest.fixture
def readers() -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def one(port: int, *filters: str) -> Reader:
        made.append(Reader(port, *filters))
        return made[-1]

    yield one
    for reader in made:
        reader.close()


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    """bridge(node, "topic # both 0", ...): a mosquitto that is a bridge to the node."""
    tmp_path.chmod(0o755)  # started as root, it reads as another user
    started: list[Mosquitto] = []

    def start(node: Node, *lines: str) -> Mosquitto:
        made = Mosquitto(tmp_path, "connection edge", f"address 127.0.0.1:{node.tcp}", *lines)
        started.append(made)
        return made

    yield start
    for each in started:
        each.process.terminate()
        each.process.wait(10)


def state(identifier: str) -> tuple[str, bytes, int, bool]:
    return (f"$SYS/broker/connection/{identifier}/state", b"1", 1, True)


@pytest.mark.parametrize("notifications", [True, False])
@pytest.mark.parametrize("version", [None, *VERSIONS])
def test_a_bridge_as_in_the_manual(
    node: Node,
    bridge: Bridge,
    readers: Callable[..., Reader],
    version: str | None,
    notifications: bool,
) -> None:
    """It is let in at the first try; messages go both ways once, the retain flag with them."""
    identifier = f"edge-{version}-{notifications}"
    lines = ["topic # both 2", f"remote_clientid {identifier}"]
    if version is not None:
        lines.append(f"bridge_protocol_version {version}")
    if not notifications:
        lines.append("notifications false")
    prefix = f"bridged/{identifier}"
    core = readers(node.tcp, f"{prefix}/#", "$SYS/broker/connection/#")
    core.publish(f"{prefix}/down/kept", b"0", 1, True)
    mosquitto = bridge(node, *lines)
    field = readers(mosquitto.port, f"{prefix}/#")
    until(lambda: [each[:3] for each in field.got] == [(f"{prefix}/down/kept", b"0", 1)], TIMEOUT, "retained")
    core.got.clear()
    field.got.clear()
    states = [each for each in core.got if each[0].startswith("$SYS")]
    for writer, other, way in ((core, field, "down"), (field, core, "up")):
        for qos in (0, 1, 2):
            writer.publish(f"{prefix}/{way}/{qos}", b"x", qos)
            until(lambda: (f"{prefix}/{way}/{qos}", b"x", qos, False) in other.got, TIMEOUT, f"{way} {qos}")  # noqa: B023
        writer.publish(f"{prefix}/{way}/kept", b"y", 1, True)
        until(lambda: (f"{prefix}/{way}/kept", b"y", 1, False) in other.got, TIMEOUT, f"{way}, retained")  # noqa: B023
    late = {
        where: readers(port, f"{prefix}/#") for where, port in (("core", node.tcp), ("field", mosquitto.port))
    }
    for where, reader in late.items():
        kept = {(f"{prefix}/{way}/kept", b"y", 1, True) for way in ("down", "up")}
        until(lambda: set(reader.got) == kept, TIMEOUT, f"not retained at {where}: {reader.got}")  # noqa: B023
    for reader in (core, field):  # no loops: each message once
        ours = [each for each in reader.got if not each[0].startswith("$SYS")]
        assert len(ours) == len({each[:2] for each in ours}) == 8, ours
    assert mosquitto.log().count("sending CONNECT") == 1, mosquitto.log()
    watcher = readers(node.tcp, f"$SYS/broker/connection/{identifier}/state")
    if notifications:
        until(lambda: watcher.got == [state(identifier)], TIMEOUT, "its state")
    else:
        assert not watcher.got and not states


def test_when_the_bridge_dies_its_will_says_so(
    node: Node, bridge: Bridge, readers: Callable[..., Reader]
) -> None:
    mosquitto = bridge(node, "topic # both 0", "remote_clientid edge-dies")
    watcher = readers(node.tcp, "$SYS/broker/connection/edge-dies/state")
    until(lambda: [each[1] for each in watcher.got][-1:] == [b"1"], TIMEOUT)
    mosquitto.process.kill()
    until(lambda: watcher.got[-1][1] == b"0", TIMEOUT)


def test_a_bridge_that_sends_all_of_sys(node: Node, bridge: Bridge, readers: Callable[..., Reader]) -> None:
    """Its figures do not become ours, and it stays connected."""
    lines = ("topic $SYS/broker/# out 0", "topic up/# out 1", "remote_clientid edge-sys", "sys_interval 1")
    mosquitto = bridge(node, *lines)
    core = readers(node.tcp, "up/#", "$SYS/broker/version")
    field = readers(mosquitto.port, "$SYS/broker/uptime")
    until(lambda: len(field.got) > 2, TIMEOUT)
    field.publish("up/x", b"x", 1)
    until(lambda: ("up/x", b"x", 1, False) in core.got, TIMEOUT)
    assert all(b"mosquitto" not in each[1] for each in core.got)
    assert mosquitto.log().count("sending CONNECT") == 1
