"""paho-mqtt, in every version, over TCP, TLS, WebSocket and secure WebSocket."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTv5, MQTTv31, MQTTv311
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.wire.certs import Certificates
from tests.wire.nodes import Node

TIMEOUT = 5.0  # seconds
count = itertools.count()


class Paho:
    """A client whose callbacks are queues."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.connacks: queue.Queue[tuple[bool, int]] = queue.Queue()
        self.subacks: queue.Queue[list[int]] = queue.Queue()
        self.disconnects: queue.Queue[int] = queue.Queue()
        self.messages: queue.Queue[MQTTMessage] = queue.Queue()
        client.on_connect = lambda c, u, flags, code, p: self.connacks.put(
            (flags.session_present, code.value)
        )
        client.on_subscribe = lambda c, u, mid, codes, p: self.subacks.put([code.value for code in codes])
        client.on_disconnect = lambda c, u, flags, code, p: self.disconnects.put(code.value)
        client.on_message = lambda c, u, message: self.messages.put(message)

    def subscribe(self, *args: Any, **options: Any) -> list[int]:
        self.client.subscribe(*args, **options)
        return self.subacks.get(timeout=TIMEOUT)

    def publish(self, topic: str, payload: bytes = b"", **options: Any) -> None:
        """And wait for the last acknowledgement of its QoS."""
        self.client.publish(topic, payload, **options).wait_for_publish(TIMEOUT)

    def take(self, number: int = 1) -> list[MQTTMessage]:
        return [self.messages.get(timeout=TIMEOUT) for _ in range(number)]

    def end(self) -> None:
        self.client.disconnect()
        self.disconnects.get(timeout=TIMEOUT)
        self.client.loop_stop()


Connect = Callable[..., Paho]


@pytest.fixture(params=[MQTTv31, MQTTv311, MQTTv5], ids=["3.1", "3.1.1", "5.0"])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=["tcp", "tls", "ws", "wss"])
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(node: Node, certificates: Certificates, door: str, version: int) -> Iterator[Connect]:
    """client("a") is connected; client("a", persistent=True) keeps its session."""
    port = {"tcp": node.tcp, "tls": node.tls, "ws": node.ws, "wss": node.wss}[door]
    prefix = f"paho{next(count)}"
    clients: list[Paho] = []

    def connect(
        name: str, persistent: bool = False, present: bool = False, will: str = "", **properties: int
    ) -> Paho:
        made = Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"{prefix}{name}",
            clean_session=None if version == MQTTv5 else not persistent,
            protocol=version,
            transport="websockets" if door in ("ws", "wss") else "tcp",
            reconnect_on_failure=False,
        )
        if door in ("tls", "wss"):
            made.tls_set_context(certificates.context())
        if will:
            made.will_set(will, b"gone", qos=1)
        paho = Paho(made)
        clients.append(paho)
        options: dict[str, Any] = {}
        if version == MQTTv5:
            options["clean_start"] = not persistent
            options["properties"] = Properties(PacketTypes.CONNECT)
            options["properties"].SessionExpiryInterval = 60 if persistent else 0
            for key, value in properties.items():
                setattr(options["properties"], key, value)
        made.connect("127.0.0.1", port, **options)
        made.loop_start()
        assert paho.connacks.get(timeout=TIMEOUT) == (present, 0)
        return paho

    yield connect
    for each in clients:
        each.client.disconnect()
        each.client.loop_stop()


def name_topic() -> str:
    return f"paho/{next(count)}"


def seen(messages: list[MQTTMessage]) -> list[tuple[bytes, int, bool]]:
    return [(message.payload, message.qos, message.retain) for message in messages]


def test_every_qos_both_ways(client: Connect) -> None:
    topic = name_topic()
    reader, writer = client("reader"), client("writer")
    for granted in (0, 1, 2):
        assert reader.subscribe(topic, granted) == [granted]
        for qos in (0, 1, 2):
            writer.publish(topic, b"%d" % qos, qos=qos)
            assert seen(reader.take()) == [(b"%d" % qos, min(qos, granted), False)]
    assert reader.messages.empty()


def test_many_messages_stay_in_order(client: Connect) -> None:
    topic = name_topic()
    reader, writer = client("reader"), client("writer")
    reader.subscribe(topic, 2)
    for number in range(300):
        last = writer.client.publish(topic, b"%d" % number, qos=number % 2 + 1)
    last.wait_for_publish(TIMEOUT)
    numbers = [int(message.payload) for message in reader.take(300)]
    assert sorted(numbers) == list(range(300))
    for qos in (0, 1):  # [MQTT-4.6.0-6]: paho hands QoS 2 on at PUBREL, so each QoS by itself
        of_qos = [number for number in numbers if number % 2 == qos]
        assert of_qos == sorted(of_qos)


def test_retained(client: Connect) -> None:
    topic = name_topic()
    writer = client("writer")
    writer.publish(topic, b"kept", qos=1, retain=True)
    late = client("late")
    late.subscribe(topic, 1)
    assert seen(late.take()) == [(b"kept", 1, True)]
    writer.publish(topic, b"", qos=1, retain=True)
    assert seen(late.take()) == [(b"", 1, False)]
    later = client("later")
    later.subscribe([(topic, 1), (f"{topic}/end", 1)])
    writer.publish(f"{topic}/end", b"end", qos=1)
    assert seen(later.take()) == [(b"end", 1, False)]


def test_will(client: Connect) -> None:
    topic = name_topic()
    reader, dying, leaving = client("reader"), client("dying", will=topic), client("leaving", will=topic)
    reader.subscribe(topic, 1)
    leaving.end()  # not published: it said goodbye
    sock = dying.client.socket()
    assert sock is not None
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        same.shutdown(socket.SHUT_RDWR)
    assert seen(reader.take()) == [(b"gone", 1, False)]
    assert reader.messages.empty()


def test_offline_queue(client: Connect, version: int) -> None:
    topic = name_topic()
    first = client("sleeper", persistent=True)
    first.subscribe(topic, 2)
    first.end()
    writer = client("writer")
    for qos in (1, 1, 2, 0):
        writer.publish(topic, b"%d" % qos, qos=qos)
    second = client("sleeper", persistent=True, present=version != MQTTv31)  # 3.1 has no such flag
    assert seen(second.take(3)) == [(b"1", 1, False), (b"1", 1, False), (b"2", 2, False)]
    second.publish(topic, b"again", qos=1)  # the subscription is there, too
    assert seen(second.take()) == [(b"again", 1, False)]


def test_takeover(client: Connect, version: int) -> None:
    first, second = client("same"), client("same")
    code = first.disconnects.get(timeout=TIMEOUT)
    assert code == 0x8E if version == MQTTv5 else code != 0
    second.publish(name_topic(), qos=1)


@pytest.mark.parametrize("version", [MQTTv5], indirect=True, ids=["5.0"])
def test_properties(client: Connect) -> None:
    topic = name_topic()
    reader, writer = client("reader", TopicAliasMaximum=3, ReceiveMaximum=2), client("writer")
    identified = Properties(PacketTypes.SUBSCRIBE)
    identified.SubscriptionIdentifier = 268_435_455
    reader.subscribe(topic, options=SubscribeOptions(qos=1), properties=identified)
    for number in range(4):
        properties = Properties(PacketTypes.PUBLISH)
        properties.TopicAlias = 2
        properties.PayloadFormatIndicator = 1
        properties.MessageExpiryInterval = 100
        properties.ContentType = "text/plain"
        properties.ResponseTopic = f"{topic}/answer"
        properties.CorrelationData = b"\0\1\2"
        properties.UserProperty = [("unit", "°C"), ("unit", "K")]
        writer.publish(topic, b"%d" % number, qos=1, properties=properties)
    aliases: dict[int, str] = {}  # which paho leaves to the application
    for number, message in enumerate(reader.take(4)):
        got: Any = message.properties
        if message.topic:
            aliases[got.TopicAlias] = message.topic
        assert (aliases[got.TopicAlias], message.payload) == (topic, b"%d" % number)
        assert got.PayloadFormatIndicator == 1
        assert got.MessageExpiryInterval in (99, 100)
        assert got.ContentType == "text/plain"
        assert got.ResponseTopic == f"{topic}/answer"
        assert got.CorrelationData == b"\0\1\2"
        assert got.UserProperty == [("unit", "°C"), ("unit", "K")]
        assert got.SubscriptionIdentifier == [268_435_455]


@pytest.mark.parametrize("version", [MQTTv5], indirect=True, ids=["5.0"])
def test_subscription_options(client: Connect) -> None:
    topic = name_topic()
    reader, writer = client("reader"), client("writer")
    writer.publish(topic, b"kept", qos=1, retain=True)
    reader.subscribe(topic, options=SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True))
    assert seen(reader.take()) == [(b"kept", 1, True)]
    reader.publish(topic, b"own", qos=1)
    writer.publish(topic, b"other", qos=1, retain=True)
    assert seen(reader.take()) == [(b"other", 1, True)]
    for handling in (SubscribeOptions.RETAIN_SEND_IF_NEW_SUB, SubscribeOptions.RETAIN_DO_NOT_SEND):
        reader.subscribe(topic, options=SubscribeOptions(qos=1, retainHandling=handling))
    writer.publish(topic, b"", qos=1, retain=True)
    assert seen(reader.take()) == [(b"", 1, False)]


@pytest.mark.parametrize("version", [MQTTv5], indirect=True, ids=["5.0"])
def test_a_shared_subscription(client: Connect) -> None:
    topic = name_topic()
    members = [client(f"member{number}") for number in range(3)]
    for member in members:
        assert member.subscribe(f"$share/crew/{topic}", 1) == [1]
    writer = client("writer")
    for number in range(30):
        writer.publish(topic, b"%d" % number, qos=1)
    shares = [0, 0, 0]
    taken = []
    while len(taken) < 30:
        for number, member in enumerate(members):
            while not member.messages.empty():
                taken.append(int(member.take()[0].payload))
                shares[number] += 1
        time.sleep(0.01)
    assert sorted(taken) == list(range(30))
    assert min(shares) > 0
