"""What a node refuses as its memory fills, in order, and that it is taken again a step later."""

from __future__ import annotations

import pytest

from apps.gateway import process_memory
from apps.gateway.broker.limits import DROP_QOS_0, REFUSE_CONNECTS, REFUSE_PUBLISHES
from apps.gateway.broker.stats import DROP_MEMORY
from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import reasons
from apps.gateway.operator.memory_watch import EVERY, OFTEN, WORTH, MemoryWatch
from tests.apps.gateway.support.world import World

PROGRAM, LIMIT = 100_000_000, 200_000_000


class Memory:
    """What the process occupies, as the test says."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used = PROGRAM
        self.given_back = 0
        self.free = 0
        monkeypatch.setattr(process_memory, "rss", lambda: self.used)
        monkeypatch.setattr(process_memory, "free", lambda: self.free)
        world.node.limits.memory = LIMIT
        self.watch = MemoryWatch(world.node, self.give_back)
        self.watch.start()

    def give_back(self) -> None:
        self.given_back += 1

    def at(self, share: float) -> float:
        """`share` of the room is in use; the seconds until the next look."""
        self.used = int(PROGRAM + share * (LIMIT - PROGRAM))
        return self.watch.look()


@pytest.fixture
def memory(world: World, monkeypatch: pytest.MonkeyPatch) -> Memory:
    return Memory(world, monkeypatch)


def test_the_order_and_the_way_back(world: World, memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    steps = [(share, memory.at(share), world.node.strain) for share in (0.1, 0.6, 0.76, 0.85, 0.9, 0.9)]
    assert [strain for _, _, strain in steps] == [0, 0, REFUSE_CONNECTS, DROP_QOS_0, *[REFUSE_PUBLISHES] * 2]
    assert [wait for _, wait, _ in steps[:2]] == [EVERY, OFTEN]
    assert memory.watch.readiness() == "short of memory: new connections and messages are refused"
    assert not memory.watch.status()["ok"]
    for share, strain in ((0.80, REFUSE_PUBLISHES), (0.77, DROP_QOS_0), (0.70, REFUSE_CONNECTS), (0.6, 0)):
        memory.at(share)
        assert world.node.strain == strain, share
    assert memory.watch.readiness() == "" and memory.watch.status()["ok"]
    said = [
        record.getMessage().partition("use: ")[2] for record in caplog.records if "in use" in record.message
    ]
    assert said == [
        "new connections are refused",
        "new connections and QoS 0 are refused",
        "new connections and messages are refused",
        "nothing is refused",
    ]


def test_queues_stay_within_half_of_the_room(world: World, memory: Memory) -> None:
    assert world.node.limits.node_bytes == (LIMIT - PROGRAM) // 2


def test_memory_is_given_back_at_once_where_it_is_short(memory: Memory) -> None:
    for _ in range(20):
        memory.at(0.0)
    assert not memory.given_back
    memory.at(0.9)
    assert memory.given_back == 1


def test_what_is_free_is_given_back_whenever_it_came_to_be(memory: Memory) -> None:
    """The C library calls it free afterwards, too. Connections that end after one time get another."""

    def looks(free: int) -> int:
        """How often memory was given back in the next 20 s."""
        memory.free, before = free, memory.given_back
        for _ in range(int(20 / EVERY)):
            memory.at(0.4)
        return memory.given_back - before

    assert looks(WORTH - 1) == 0
    assert looks(5 * WORTH) == 1  # and not again: nothing of it is occupied
    assert looks(0) == 0  # it is used again,
    assert looks(5 * WORTH) == 1  # and free again, while no more is in use than at the last time


@pytest.mark.parametrize("version", [4, 5])
def test_new_connections(world: World, memory: Memory, version: int) -> None:
    memory.at(0.76)
    late = world.dial(version)
    late.connect("late")
    assert late.connack is not None and late.closed
    assert late.connack.reason == (reasons.QUOTA_EXCEEDED if version == 5 else 3)
    assert world.node.stats.refused == {reasons.QUOTA_EXCEEDED: 1}


def test_qos_0_is_dropped_and_counted(world: World, memory: Memory) -> None:
    sender, reader = world.join("sender", 5), world.join("reader", 5)
    reader.subscribe("t", qos=1)
    reader.take()
    memory.at(0.85)
    sender.publish("t", b"gone")
    sender.publish("t", b"taken", qos=1)
    assert [each.payload for each in reader.take() if isinstance(each, p.Publish)] == [b"taken"]
    assert world.node.stats.drops[DROP_MEMORY] == 1


def test_qos_1_is_refused(world: World, memory: Memory) -> None:
    sender, old, reader = world.join("sender", 5), world.join("old", 4), world.join("reader", 5)
    reader.subscribe("t", qos=1)
    reader.take()
    memory.at(0.9)
    sender.publish("t", b"x", qos=1)
    (answer,) = sender.take()
    assert isinstance(answer, p.Ack) and answer.reason == reasons.QUOTA_EXCEEDED
    old.publish("t", b"x", qos=1)
    assert old.closed and reader.take() == []
    memory.at(0.1)
    sender.publish("t", b"again", qos=1)
    assert [each.payload for each in reader.take() if isinstance(each, p.Publish)] == [b"again"]
