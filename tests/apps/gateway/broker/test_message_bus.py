"""What other nodes want goes outside, and is acknowledged when it is durable there, in order."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from apps.gateway.broker import ports
from apps.gateway.broker.completion import Completion
from apps.gateway.broker.messages import Message
from apps.gateway.broker.ports import Choice
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import properties as props
from apps.gateway.mqtt import reasons
from apps.gateway.mqtt.properties import Properties
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.doors import Question
from tests.apps.gateway.support.world import World


class Stream:
    """An `Outside` whose deliveries the test confirms."""

    def __init__(self, wants: int = ports.BUS_LIVE) -> None:
        self.topics: dict[str, int] = {"out": wants}
        self.messages: list[Message] = []
        self.retained: list[Message] = []
        self.completions: list[Completion] = []
        self.choices: list[Choice | None] = []
        self.choice = Choice(frozenset())
        self.full = False
        self.filters: list[tuple[str, str]] = []
        self.members: list[tuple[str, str]] = []
        self.behind = False  # the other nodes have not heard of the newest subscriptions

    def subscribed(self, filter: str, share: str) -> None:
        self.filters.append((filter, share))

    def unsubscribed(self, filter: str, share: str) -> None:
        self.filters.remove((filter, share))

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None:
        (self.members.append if here else self.members.remove)((filter, share))

    def has_unapplied(self) -> bool:
        return self.behind

    async def wait_applied(self) -> bool:
        await Question()
        return True

    def wants(self, topic: str) -> int:
        return self.topics.get(topic, 0)

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        return self.choice

    def publish(
        self, message: Message, wants: int, choice: Choice | None, completion: Completion | None
    ) -> int:
        return self._take(message, completion, self.messages, choice)

    def retain(self, message: Message, completion: Completion | None) -> int:
        return self._take(message, completion, self.retained, None)

    def _take(
        self, message: Message, completion: Completion | None, into: list[Message], choice: Choice | None
    ) -> int:
        if self.full:
            return reasons.QUOTA_EXCEEDED
        into.append(message)
        self.choices.append(choice)
        if completion is not None:
            completion.expect()
            self.completions.append(completion)
        return 0


@pytest.fixture
def stream(world: World) -> Stream:
    stream = Stream()
    world.node.bus = stream
    return stream


def puback(packet_id: int, reason: int = 0) -> p.Ack:
    return p.Ack(pt.PUBACK, packet_id, reason)


@pytest.mark.parametrize("level", (3, 4, 5))
@pytest.mark.parametrize(("qos", "kind"), ((1, pt.PUBACK), (2, pt.PUBREC)))
def test_the_acknowledgement_waits_for_the_report(
    world: World, stream: Stream, level: int, qos: int, kind: int
) -> None:
    writer = world.join("w", level)
    packet_id = writer.publish("out", b"x", qos)
    assert writer.take() == []
    assert [message.payload for message in stream.messages] == [b"x"]
    stream.completions[0].done()
    world.turn()
    assert writer.take() == [p.Ack(kind, packet_id)]


def test_acknowledgements_leave_in_the_order_of_their_publishes(world: World, stream: Stream) -> None:
    """[MQTT-4.6.0-2]: whichever report came first, and though nobody waits for the one in between."""
    writer = world.join("w", 4)
    first, between, last = (writer.publish(topic, b"x", 1) for topic in ("out", "in", "out"))
    stream.completions[1].done()
    world.turn()
    assert writer.take() == []
    stream.completions[0].done()
    world.turn()
    assert writer.take() == [puback(first), puback(between), puback(last)]
    assert writer.publish("in", b"x", 1) and writer.take_one(p.Ack).type == pt.PUBACK  # at once again


def test_messages_of_one_read_share_a_receipt(world: World, stream: Stream) -> None:
    writer = world.join("w", 5)
    writer.send(
        p.Publish("out", b"1", 1, packet_id=1),
        p.Publish("out", b"2", 2, packet_id=2),
        p.Publish("out", b"3", 1, packet_id=3),
    )
    completions = stream.completions
    assert len(completions) == 3 and len(set(map(id, completions))) == 1
    for completion in completions[:2]:
        completion.done()
    world.turn()
    assert writer.take() == []
    completions[2].done()
    world.turn()
    assert writer.take() == [puback(1), p.Ack(pt.PUBREC, 2), puback(3)]


@pytest.mark.parametrize("qos", (1, 2))
def test_what_cannot_be_made_durable_is_refused(world: World, stream: Stream, qos: int) -> None:
    writer = world.join("w", 5)
    old = world.join("old", 4)
    packet_id = writer.publish("out", b"x", qos)
    old.publish("out", b"x", qos)
    for completion in stream.completions:
        completion.done(reasons.QUOTA_EXCEEDED)
    world.turn()
    kind = pt.PUBACK if qos == 1 else pt.PUBREC
    assert writer.take() == [p.Ack(kind, packet_id, reasons.QUOTA_EXCEEDED)]
    assert old.closed and old.take() == []
    writer.send(p.Publish("out", b"again", qos, packet_id=packet_id))
    assert [message.payload for message in stream.messages][-1] == b"again"


@pytest.mark.parametrize("qos", (1, 2))
def test_without_room_outside_nobody_gets_it_and_the_publisher_knows(
    world: World, stream: Stream, qos: int
) -> None:
    reader = world.join("r")
    reader.subscribe("out", qos=2)
    stream.full = True
    writer = world.join("w", 5)
    old = world.join("old", 4)
    packet_id = writer.publish("out", b"x", qos)
    kind = pt.PUBACK if qos == 1 else pt.PUBREC
    assert writer.take() == [p.Ack(kind, packet_id, reasons.QUOTA_EXCEEDED)]
    old.publish("out", b"x", qos)
    assert old.closed and old.take() == []
    assert reader.payloads() == []


def test_qos_0_without_room_outside_is_counted_and_reaches_those_here(world: World, stream: Stream) -> None:
    reader = world.join("r")
    reader.subscribe("out")
    stream.full = True
    world.join("w").publish("out", b"x")
    assert reader.payloads() == [b"x"]
    assert world.events.drops == [("", "cluster_full", "out", 1)]


def test_a_run_of_qos_0_goes_outside_message_by_message(world: World, stream: Stream) -> None:
    reader = world.join("r", 3)
    reader.subscribe("out")
    writer = world.join("w", 5)
    writer.send(*(p.Publish("out", b"%d" % n) for n in range(3)))
    assert [message.payload for message in stream.messages] == reader.payloads() == [b"0", b"1", b"2"]
    assert stream.completions == []


def test_what_only_this_node_wants_stays(world: World, stream: Stream) -> None:
    reader = world.join("r")
    reader.subscribe("in", qos=1)
    writer = world.join("w")
    packet_id = writer.publish("in", b"x", 1)
    assert writer.take() == [puback(packet_id)] and stream.messages == []


def test_those_outside_hear_of_each_subscription_once(world: World, stream: Stream) -> None:
    reader = world.join("r")
    for qos in (0, 1):  # the second one replaces the first
        reader.subscribe("a/#", qos=qos)
        reader.subscribe("$share/g/b", qos=qos)
    assert stream.filters == [("a/#", ""), ("b", "g")]
    reader.unsubscribe("a/#")
    assert stream.filters == [("b", "g")]
    reader.drop()
    assert stream.filters == []


def test_who_of_a_shared_subscription_is_online_is_told(world: World, stream: Stream) -> None:
    stays: Properties = {props.SESSION_EXPIRY_INTERVAL: 100}
    reader = world.join("r", 5, clean=False, properties=stays)
    reader.subscribe("$share/g/a")
    reader.subscribe("b")
    assert stream.members == [("a", "g")]
    reader.drop()
    assert (stream.members, stream.filters) == ([], [("a", "g"), ("b", "")])
    world.join("r", 5, clean=False, properties=stays)
    assert stream.members == [("a", "g")]
    world.join("r", clean=True)  # the session ends
    assert (stream.members, stream.filters) == ([], [])


def test_a_suback_waits_until_the_others_know(world: World, stream: Stream) -> None:
    writer = world.join("w")
    writer.publish("a", b"kept", retain=True)
    stream.behind = True
    reader = world.dial()
    reader.connect("r")
    reader.send(p.Subscribe(1, [p.Filter("a", 0)], {}))
    assert reader.take() == []  # neither the SUBACK nor what is retained
    writer.publish("a", b"live")
    assert reader.payloads() == [b"live"]  # it may come before the SUBACK
    world.answer()
    suback, kept = reader.take()
    assert isinstance(suback, p.Suback)
    assert isinstance(kept, p.Publish) and kept.payload == b"kept"


def test_a_client_that_leaves_while_its_suback_waits(world: World, stream: Stream) -> None:
    stream.behind = True
    reader = world.dial()
    reader.connect("r")
    reader.send(p.Subscribe(1, [p.Filter("a", 0)], {}))
    reader.drop()
    world.answer()
    assert stream.filters == []


def test_a_change_outside_outdates_the_topic(world: World, stream: Stream) -> None:
    writer = world.join("w", 5)
    writer.publish("new/a", b"1", 1)
    assert writer.take_one(p.Ack).reason == reasons.NO_MATCHING_SUBSCRIBERS
    stream.topics["new/a"] = ports.BUS_LIVE
    world.node.bus_changed("new/+")
    writer.publish("new/a", b"2")
    assert [message.payload for message in stream.messages] == [b"2"]


def test_what_came_from_outside_does_not_go_there_again(world: World, stream: Stream) -> None:
    reader = world.join("r")
    reader.subscribe("out", qos=1)
    assert world.node.inject(Message("out", b"x", 1))
    assert not world.node.inject(Message("nobody", b"x", 1))
    world.turn()
    assert reader.payloads() == [b"x"] and stream.messages == []


def test_shared_subscriptions_are_served_where_they_were_chosen(world: World) -> None:
    stream = Stream(ports.BUS_LIVE | ports.BUS_SHARED)
    stream.choice = Choice(frozenset({"a/out"}), ("b/out=other",))
    world.node.bus = stream
    readers = [world.join(name) for name in ("ra", "rb")]
    readers[0].subscribe("$share/a/out")
    readers[1].subscribe("$share/b/out")
    world.join("w").publish("out", b"1")
    assert [reader.payloads() for reader in readers] == [[b"1"], []]
    assert stream.choices == [stream.choice]
    world.node.inject(Message("out", b"2"), {"b/out"})
    world.turn()
    assert [reader.payloads() for reader in readers] == [[], [b"2"]]


def test_retained_messages_are_told_to_the_others(world: World, stream: Stream) -> None:
    writer = world.join("w", 5)
    packet_id = writer.publish("in", b"x", 1, retain=True)
    assert [message.payload for message in stream.retained] == [b"x"]
    assert writer.take() == []
    stream.completions[0].done()
    world.turn()
    assert writer.take() == [puback(packet_id, reasons.NO_MATCHING_SUBSCRIBERS)]


def test_too_many_waiting_acknowledgements_stop_the_reading(make_world: Worlds) -> None:
    world = make_world(receive_maximum=4)
    stream = Stream()
    world.node.bus = stream
    writer = world.join("w", 4)
    for _ in range(4):
        writer.publish("out", b"x", 1)
    assert writer.link.paused_reading
    for completion in stream.completions:
        completion.done()
    world.turn()
    assert not writer.link.paused_reading and len(writer.take()) == 4


def test_a_connection_that_ends_waits_for_nothing(world: World, stream: Stream) -> None:
    writer = world.join("w", 5)
    writer.publish("out", b"x", 1)
    writer.drop()
    stream.completions[0].done()
    world.turn()
    assert writer.take() == []
