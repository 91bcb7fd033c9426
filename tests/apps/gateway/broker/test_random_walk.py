"""A subscriber that comes, goes, stalls and acknowledges late: each message arrives as its QoS promises."""

from __future__ import annotations

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from apps.gateway.broker.limits import Limits
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt.properties import Properties
from tests.apps.gateway.support import audit
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World


class Receiver:
    """The receiving side of section 4.3, with a state that outlives its connections."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.client: Client | None = None
        self.got: dict[int, list[int]] = {1: [], 2: []}
        self.unacked: deque[p.Packet] = deque()  # received, not yet answered
        self.known: set[int] = set()  # QoS 2 identifiers before their PUBREL

    def come(self, level: int, maximum: int) -> None:
        properties: Properties = {0x11: 10_000, 0x21: maximum} if level == 5 else {}
        self.client = self.world.join("receiver", level, clean=False, properties=properties)
        self.maximum = maximum if level == 5 else 65_535

    def go(self) -> None:
        if self.client is not None:
            self.client.drop()
            self.client = None
            self.unacked.clear()  # the broker will say it again

    def read(self) -> None:
        if self.client is None:
            return
        for packet in self.client.unstall():
            if isinstance(packet, p.Publish):
                number = int(packet.payload)
                if packet.qos == 1:
                    self.got[1].append(number)
                elif packet.packet_id not in self.known:
                    self.got[2].append(number)
                    self.known.add(packet.packet_id)
            self.unacked.append(packet)
        waiting = sum(isinstance(packet, p.Publish) for packet in self.unacked)
        assert waiting <= self.maximum  # [MQTT-3.3.4-9]

    def answer(self, count: int) -> None:
        """Some of what was read, in its order [MQTT-4.6.0-2]."""
        for _ in range(min(count, len(self.unacked))):
            packet = self.unacked.popleft()
            assert self.client is not None
            if isinstance(packet, p.Publish):
                self.client.ack(pt.PUBACK if packet.qos == 1 else pt.PUBREC, packet.packet_id)
            elif isinstance(packet, p.Ack) and packet.type == pt.PUBREL:
                self.known.discard(packet.packet_id)
                self.client.ack(pt.PUBCOMP, packet.packet_id)


steps = st.one_of(
    st.tuples(st.just("publish"), st.integers(1, 5)),
    st.tuples(st.just("come"), st.tuples(st.sampled_from((3, 4, 5)), st.integers(1, 4))),
    st.tuples(st.just("go"), st.none()),
    st.tuples(st.just("take over"), st.integers(1, 4)),
    st.tuples(st.just("stall"), st.integers(0, 60)),
    st.tuples(st.just("read"), st.none()),
    st.tuples(st.just("answer"), st.integers(1, 6)),
)


@settings(deadline=None, max_examples=150)
@given(st.lists(steps, min_size=25, max_size=80), st.integers(1, 5))
def test_nothing_is_lost_and_nothing_overtakes(walk: list[tuple[str, object]], window: int) -> None:
    world = World(Limits(inflight_window=window))
    receiver = Receiver(world)
    receiver.come(5, 3)
    assert receiver.client is not None
    receiver.client.subscribe("t", qos=2)
    writer = world.join("writer")
    writer.polite = True
    sent: dict[int, list[int]] = {1: [], 2: []}
    number = 0
    for step, argument in walk:
        match step, argument:
            case "publish", int(count):
                for _ in range(count):
                    number += 1
                    qos = 1 + number % 2
                    sent[qos].append(number)
                    writer.publish("t", b"%d" % number, qos)
                writer.take()
            case "come", (int(level), int(maximum)) if receiver.client is None:
                receiver.come(level, maximum)
            case "go", _:
                receiver.go()
            case "take over", int(maximum) if receiver.client is not None:
                receiver.unacked.clear()
                receiver.come(5, maximum)
            case "stall", int(capacity) if receiver.client is not None:
                receiver.client.stall(capacity)
            case "read", _:
                receiver.read()
            case "answer", int(count) if receiver.client is not None:
                receiver.answer(count)
        audit.check(world.node, world.clients)
    if receiver.client is None:
        receiver.come(4, 65_535)
    for _ in range(3 * number + 10):
        receiver.read()
        receiver.answer(100)
    assert receiver.got[2] == sent[2]  # exactly once, in order [MQTT-4.3.3-2]
    assert list(dict.fromkeys(receiver.got[1])) == sent[1]  # at least once, in order [MQTT-4.6.0-6]
    session = world.node.sessions["receiver"]
    assert not session.unacked and not session.released and session.queue is None
    world.close()
