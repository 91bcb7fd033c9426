"""Shared subscriptions (section 4.8.2)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World

LEVELS = (3, 4, 5)


def members(world: World, count: int, qos: int = 1, **options: object) -> list[Client]:
    found = []
    for number in range(count):
        client = world.join(f"member-{number}", **options)
        client.subscribe("$share/g/t/#", qos=qos)
        found.append(client)
    return found


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("qos", (0, 1, 2))
def test_each_message_to_one_member_in_turn(world: World, level: int, qos: int) -> None:
    """[MQTT-4.8.2-4]; the other groups and plain subscribers get their own copies."""
    three = [world.join(f"member-{number}", level) for number in range(3)]
    for client in three:
        client.subscribe("$share/g/t/#", qos=2)
    other = world.join("other", level)
    other.subscribe("$share/h/t/+", qos=2)
    plain = world.join("plain", level)
    plain.subscribe("t/a", qos=2)
    writer = world.join("writer", level)
    for number in range(9):
        writer.publish("t/a", b"%d" % number, qos)
    got = [client.payloads() for client in three]
    assert [len(payloads) for payloads in got] == [3, 3, 3]
    everything = sorted(b"%d" % number for number in range(9))
    assert sorted(payload for payloads in got for payload in payloads) == everything
    assert sorted(other.payloads()) == sorted(plain.payloads()) == everything


def test_a_run_in_one_segment_is_spread(world: World) -> None:
    three = members(world, 3, qos=0)
    world.join("writer").send(*[p.Publish("t/a", b"%d" % number) for number in range(9)])
    assert [len(client.payloads()) for client in three] == [3, 3, 3]


def test_options_of_the_member_that_gets_it(world: World) -> None:
    """QoS and identifier are each member's own."""
    for number in range(3):
        client = world.join(f"member-{number}")
        client.subscribe("$share/g/t", qos=number, identifier=number + 1)
    writer = world.join("writer")
    for _ in range(3):
        writer.publish("t", b"x", 2)
    got = [client.take_one(p.Publish) for client in world.clients[:3]]
    assert [(packet.qos, packet.properties[0x0B]) for packet in got] == [(0, [1]), (1, [2]), (2, [3])]


def test_joining_again_replaces(world: World) -> None:
    client = world.join("client")
    client.subscribe("$share/g/t", qos=0)
    client.subscribe("$share/g/t", qos=2)
    assert world.node.router.trie.shared_count == 1
    world.join("writer").publish("t", b"x", 2)
    assert client.take_one(p.Publish).qos == 2


def test_leaving_rebalances(world: World) -> None:
    one, two, three = members(world, 3)
    writer = world.join("writer")
    writer.polite = True
    assert two.unsubscribe("$share/g/t/#").reasons == [0]
    for number in range(4):
        writer.publish("t", b"%d" % number, 1)
    one.polite = three.polite = True
    assert (len(one.payloads()), two.payloads(), len(three.payloads())) == (2, [], 2)
    one.drop()
    for number in range(4):
        writer.publish("t", b"%d" % number, 1)
    assert len(three.payloads()) == 4


def test_an_unacknowledged_message_of_one_that_goes_reaches_another(world: World) -> None:
    """QoS 1 and what waits; a QoS 2 message once sent stays with its member [MQTT-4.8.2-5]."""
    one, two = members(world, 2, qos=2)
    writer = world.join("writer")
    writer.polite = True
    for number in range(4):
        writer.publish("t", b"%d" % number, 1 + number // 2)
    first = one.take_publishes()
    assert [(packet.payload, packet.qos) for packet in first] == [(b"0", 1), (b"2", 2)]
    assert two.payloads() == [b"1", b"3"]
    one.drop()
    again = two.take_one(p.Publish)
    assert (again.payload, again.dup) == (b"0", False)
    assert world.node.stats.drops["session_ended"] == 1


def test_a_member_that_comes_back_keeps_its_qos_2(world: World) -> None:
    """[MQTT-4.8.2-4]: delivery is completed to that client when it reconnects."""
    one, two = members(world, 2, qos=2, properties={0x11: 100})
    world.join("writer").publish("t", b"x", 2)
    packet_id = one.take_one(p.Publish).packet_id
    one.drop()
    assert two.take() == []
    again = world.join("member-0", clean=False)
    assert again.take() == [p.Publish("t", b"x", 2, dup=True, packet_id=packet_id)]


def test_the_only_member_keeps_what_it_has(world: World) -> None:
    """Nobody else could get it: it is repeated with its identifier and DUP [MQTT-4.4.0-1]."""
    (one,) = members(world, 1, properties={0x11: 100})
    writer = world.join("writer")
    writer.publish("t", b"1", 1)
    packet_id = one.take_one(p.Publish).packet_id
    one.drop()
    writer.publish("t", b"2", 1)
    again = world.join("member-0", clean=False)
    assert again.take() == [
        p.Publish("t", b"1", 1, dup=True, packet_id=packet_id),
        p.Publish("t", b"2", 1, packet_id=packet_id + 1),
    ]


def test_only_online_members_while_there_are_any(world: World) -> None:
    one, two = members(world, 2, properties={0x11: 100})
    one.drop()
    writer = world.join("writer")
    for number in range(4):
        writer.publish("t", b"%d" % number, 1)
    assert two.payloads() == [b"0", b"1", b"2", b"3"]
    assert world.node.stats.queued == 0


def test_nobody_is_there(world: World) -> None:
    """QoS 1 waits in a session that can; QoS 0 is dropped and counted."""
    for client in members(world, 2, properties={0x11: 100}):
        client.drop()
    writer = world.join("writer")
    writer.publish("t", b"0", 0)
    assert world.node.stats.drops["no_share_member"] == 1
    writer.publish("t", b"1", 1)
    assert world.node.stats.queued == 1
    back = [world.join(f"member-{number}", clean=False) for number in range(2)]
    assert sorted(client.payloads() for client in back) == [[], [b"1"]]


def test_what_waits_goes_to_the_others_when_the_session_ends(make_world: Worlds) -> None:
    world = make_world(inflight_window=1)
    one, two = members(world, 2)
    writer = world.join("writer")
    writer.polite = True
    for number in range(6):
        writer.publish("t", b"%d" % number, 1)
    assert (one.payloads(), two.payloads()) == ([b"0"], [b"1"])
    assert world.node.stats.queued == 4
    one.drop()
    two.polite = True
    two.ack(pt.PUBACK, 1)
    assert sorted(two.payloads()) == [b"0", b"2", b"3", b"4", b"5"]


def test_the_last_member_takes_its_messages_along(world: World) -> None:
    """Dropped and counted, like everything else that is not delivered."""
    (one,) = members(world, 1)
    world.join("writer").publish("t", b"x", 1)
    one.drop()
    drops = world.node.stats.drops
    assert drops["no_share_member"] + drops["session_ended"] == 1


@pytest.mark.parametrize("filter", ("g", "g/", "/t", "+/t", "#/t", "a+/t", ""))
def test_malformed_ones(world: World, filter: str) -> None:
    """[MQTT-4.8.2-1], [MQTT-4.8.2-2]"""
    client = world.join("client")
    assert client.subscribe(f"$share/{filter}").reasons == [reasons.TOPIC_FILTER_INVALID]
    old = world.join("old", 4)
    assert old.subscribe(f"$share/{filter}").reasons == [0x80]


def test_different_filters_of_one_name_are_different_groups(world: World) -> None:
    one = world.join("one")
    one.subscribe("$share/g/a/+")
    two = world.join("two")
    two.subscribe("$share/g/a/#")
    writer = world.join("writer")
    for _ in range(2):
        writer.publish("a/b", b"x")
    assert (len(one.payloads()), len(two.payloads())) == (2, 2)


def test_dollar_topics(world: World) -> None:
    """[MQTT-4.7.2-1] holds for the filter behind the share name."""
    one = world.join("one")
    one.subscribe("$share/g/#", "$share/h/$own/#")
    world.join("writer").publish("$own/t", b"x")
    assert one.payloads() == [b"x"]


@pytest.mark.parametrize("qos", (0, 1, 2))
def test_a_member_that_takes_only_smaller_packets_is_passed_over(world: World, qos: int) -> None:
    """4.8.2: where it is too large for one, another one can have it; where for all, it is dropped once."""
    small = [world.join(f"small-{number}", properties={0x27: 40}) for number in range(2)]
    for client in small:
        client.subscribe("$share/g/t/#", qos=qos)
    large = world.join("large")
    large.polite = True
    large.subscribe("$share/g/t/#", qos=qos)
    writer = world.join("writer")
    writer.polite = True
    for _ in range(6):
        writer.publish("t/a", b"x" * 60, qos)
    assert large.payloads() == [b"x" * 60] * 6
    assert [client.payloads() for client in small] == [[], []]
    for _ in range(6):
        writer.publish("t/a", b"y", qos)
    assert [len(client.payloads()) for client in (large, *small)] == [2, 2, 2]
    large.drop()
    writer.publish("t/a", b"x" * 60, qos)
    assert world.node.stats.drops["packet_too_large"] == 1
