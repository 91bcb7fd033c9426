"""mosquitto_pub and mosquitto_sub, in every version, over TCP and TLS (Debian's speak no WebSocket)."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.wire.certs import Certificates
from tests.wire.nodes import Node
from tests.wire.programs import find, needs
from tests.wire.raw import Raw, RawWebSocket, publish

pytestmark = needs("mosquitto_pub", "mosquitto_sub")
TIMEOUT = 10  # seconds
count = itertools.count()

Pub = Callable[..., None]
Sub = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=["mqttv31", "mqttv311", "mqttv5"])
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["tcp", "tls"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def options(node: Node, certificates: Certificates, door: str, version: str) -> list[str]:
    if door == "tls":
        return ["-V", version, "-h", "localhost", "-p", str(node.tls), "--cafile", str(certificates.ca)]
    return ["-V", version, "-h", "127.0.0.1", "-p", str(node.tcp)]


@pytest.fixture
def topic() -> str:
    return f"mosquitto/{next(count)}"


@pytest.fixture
def pub(options: list[str]) -> Pub:
    def run(*arguments: str, code: int = 0) -> None:
        command = [find("mosquitto_pub"), *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        assert done.returncode == code, done.stderr

    return run


@pytest.fixture
def sub(options: list[str]) -> Iterator[Sub]:
    """A subscriber that has been answered; its output is one line a message."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        command = [find("stdbuf"), "-oL", find("mosquitto_sub"), *options, "-d", "-F", "%q %r %p", *arguments]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        started.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if "received SUBACK" in line:
                return process
            assert "refused" not in line and "Error" not in line, line
        raise AssertionError(f"mosquitto_sub ended with {process.wait()}")

    yield run
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def received(process: subprocess.Popen[str], number: int) -> list[str]:
    """`number` messages as "QoS retain payload"."""
    assert process.stdout is not None
    lines = (line.rstrip("\n") for line in process.stdout)
    return list(itertools.islice((line for line in lines if line[:1] in ("0", "1", "2")), number))


@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_messages_both_ways(pub: Pub, sub: Sub, topic: str, qos: str) -> None:
    reader = sub("-t", topic, "-q", qos)
    pub("-t", topic, "-q", qos, "-m", "hello")
    assert received(reader, 1) == [f"{qos} 0 hello"]
    pub("-t", topic, "-q", qos, "-m", "again", "--repeat", "30", "--repeat-delay", "0")
    assert received(reader, 30) == [f"{qos} 0 again"] * 30


def test_retained(pub: Pub, sub: Sub, topic: str) -> None:
    pub("-t", topic, "-q", "1", "-r", "-m", "kept")
    assert received(sub("-t", topic, "-q", "1"), 1) == ["1 1 kept"]
    pub("-t", topic, "-r", "-n")
    pub("-t", f"{topic}/other", "-m", "first", "-r")
    assert received(sub("-t", f"{topic}/#"), 1) == ["0 1 first"]


def test_will(pub: Pub, sub: Sub, topic: str) -> None:
    reader = sub("-t", topic, "-q", "2")
    dying = sub("-t", "x", "--will-topic", topic, "--will-payload", "gone", "--will-qos", "2")
    dying.kill()
    assert received(reader, 1) == ["2 0 gone"]


def test_offline_queue(pub: Pub, sub: Sub, topic: str, version: str) -> None:
    session = ["-i", f"sleeper-{topic}", "-c", "-q", "2", "-t", topic]
    if version == "mqttv5":
        session += ["-x", "60"]
    assert sub(*session, "-E").wait(TIMEOUT) == 0
    for number in range(3):
        pub("-t", topic, "-q", "2", "-m", f"kept {number}")
    assert received(sub(*session), 3) == [f"2 0 kept {number}" for number in range(3)]


@pytest.mark.parametrize("version", ["mqttv5"], indirect=True)
def test_properties(pub: Pub, sub: Sub, topic: str) -> None:
    reader = sub("-t", topic, "-q", "1", "-F", "1 %j", "-D", "subscribe", "subscription-identifier", "7")
    properties = {
        "payload-format-indicator": "1",
        "message-expiry-interval": "60",
        "content-type": "text/plain",
        "response-topic": f"{topic}/answer",
        "correlation-data": "abc",
        "topic-alias": "3",
    }
    arguments = [part for item in properties.items() for part in ("-D", "publish", *item)]
    pub("-t", topic, "-q", "1", "-m", "hi", *arguments, "-D", "publish", "user-property", "unit", "°C")
    message = json.loads(received(reader, 1)[0][2:])
    assert message["payload"] == "hi"
    assert message["properties"] == {
        "payload-format-indicator": 1,
        "message-expiry-interval": message["properties"]["message-expiry-interval"],
        "content-type": "text/plain",
        "response-topic": f"{topic}/answer",
        "correlation-data": "abc",
        "user-properties": {"unit": "°C"},
        "subscription-identifier": 7,
    }
    assert message["properties"]["message-expiry-interval"] in (59, 60)


def test_everybody_hears_everybody(node: Node, pub: Pub, sub: Sub, topic: str) -> None:
    """A device on TCP or TLS and a browser on WebSocket, whatever version each speaks."""
    reader = sub("-t", topic, "-q", "1")
    with RawWebSocket(node.ws) as browser, Raw(node.tcp) as device:
        for version, client in ((5, browser), (3, device)):
            client.connect(version, f"{topic}/{version}")
            client.subscribe(version, topic, qos=1)
        pub("-t", topic, "-q", "1", "-m", "from mosquitto")
        browser.send(publish(5, topic, b"from the browser", qos=1))
        device.send(publish(3, topic, b"from the device", qos=1))
        expected = ["from mosquitto", "from the browser", "from the device"]
        assert sorted(received(reader, 3)) == [f"1 0 {text}" for text in sorted(expected)]
        for client in (browser, device):
            bodies = [client.packet() for _ in range(4)]
            payloads = [body for first, body in bodies if first & 0xF0 == 0x30]
            assert len(payloads) == 3
            assert all(any(body.endswith(text.encode()) for body in payloads) for text in expected)


def test_the_figures_of_the_node(sub: Sub) -> None:
    """$SYS under the names that mosquitto's users know; the subscriber is one of the clients."""
    reader = sub("-t", "$SYS/broker/#", "-F", "1 %t %p", "-W", str(TIMEOUT))
    figures: dict[str, str] = {}
    counts = {"clients/connected", "messages/received", "bytes/sent", "subscriptions/count"}
    while not {"version", "uptime"} < figures.keys() or any(figures.get(name, "0") == "0" for name in counts):
        _, topic, value = received(reader, 1)[0].split(" ", 2)
        figures[topic.removeprefix("$SYS/broker/")] = value
    assert figures["version"].startswith("gmqtt")
    assert figures["uptime"].endswith(" seconds")
