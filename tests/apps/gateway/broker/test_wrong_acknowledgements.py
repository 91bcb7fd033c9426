"""Acknowledgements of the wrong kind, which would end a message that nobody received (section 4.3)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.world import World


@pytest.mark.parametrize(("qos", "answer"), [(1, pt.PUBREC), (2, pt.PUBACK)])
def test_it_ends_the_connection_and_not_the_message(world: World, qos: int, answer: int) -> None:
    reader = world.join("reader", clean=False, properties={0x11: 100})
    reader.subscribe("t", qos=qos)
    world.join("writer").publish("t", b"x", qos)
    sent = reader.take_one(p.Publish)
    reader.ack(answer, sent.packet_id)
    assert reader.take_one(p.Disconnect).reason == reasons.PROTOCOL_ERROR
    again = world.join("reader", clean=False, properties={0x11: 100})
    assert [(each.payload, each.dup) for each in again.take_publishes()] == [(b"x", True)]


def test_a_share_goes_past_a_member_that_is_busy(world: World) -> None:
    busy = world.join("busy", properties={0x21: 1})
    busy.subscribe("$share/g/t", qos=1)
    free = world.join("free")
    free.subscribe("$share/g/t", qos=1)
    writer = world.join("writer")
    for number in range(6):
        writer.publish("t", b"%d" % number, 1)
    assert len(busy.take_publishes()) == 1
    assert len(free.take_publishes()) == 5


def test_mqtt_3_1_may_leave_out_what_its_flags_announce(world: World) -> None:
    """MQTT 3.1, section 3.1: the user name flag may be set and the user name missing."""
    client = world.dial(3)
    client.send_raw(bytes.fromhex("1018 0006 4d5149736470 03 82 0000 000a 65336431636133366331"))
    assert client.take_one(p.Connack).reason == 0
