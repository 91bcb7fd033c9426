"""Every packet vector fed to a connection: how it is cut into segments makes no difference."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from apps.gateway.mqtt import packettypes as pt
from apps.gateway.mqtt import reasons
from tests.apps.gateway.conftest import Worlds
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.world import World
from tests.vectors import BAD, GOOD
from tests.vectors.table import Vector

PING = b"\xc0\x00"
LEVELS = (3, 4, 5)
FROM_CLIENT = {1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15}


def cuts(data: bytes) -> list[list[bytes]]:
    """The three ways; the packet that follows is a PINGREQ in each."""
    single = [data[index : index + 1] for index in range(len(data))]
    middle = len(data) // 2
    return [[data + PING], [data, PING], [*single, PING], [data[:middle], data[middle:] + PING]]


def talk(world: World, vector: Vector, pieces: list[bytes]) -> tuple[bytes, bool, Client]:
    """(what the broker sent to client and listener, did it close, the client)."""
    listener = world.join("listener")
    listener.subscribe("#", "$S", qos=2)
    client = world.dial(vector.level)
    if vector.bytes[0] >> 4 != pt.CONNECT:
        client.connect("client")
    for piece in pieces:
        client.send_raw(piece)
    said = client.link.take() + b"|" + listener.link.take()
    for each in (client, listener):
        each.drop()
    world.clients.clear()
    closed = client.closed
    for session in list(world.node.sessions.values()):
        world.node.end_session(session, world.now)
    for message in world.node.retained.match("#", world.now):
        world.node.retained.keep(type(message)(message.topic, b"", 0, True))
    return said, closed, client


def reason_of(client: Client, told: bytes) -> int | None:
    """The reason in the one packet that a client was told; None: nothing."""
    found = client.reader.feed(told)
    assert len(found) <= 1
    return getattr(found[0], "reason", None) if found else None


@pytest.mark.parametrize("level", LEVELS)
def test_good_ones(make_world: Worlds, level: int) -> None:
    world = make_world(connect_rate=0, topic_alias_maximum=65_535)
    for vector in GOOD:
        if vector.level == level and vector.bytes[0] >> 4 in FROM_CLIENT:
            results = [talk(world, vector, pieces) for pieces in cuts(vector.bytes)]
            assert len({said for said, _, _ in results}) == 1, str(vector)
            assert len({closed for _, closed, _ in results}) == 1, str(vector)


@pytest.mark.parametrize("level", LEVELS)
def test_bad_ones(make_world: Worlds, level: int) -> None:
    """Closed, and a 5.0 client is told why: the bytes are judged before the moment is."""
    world = make_world(connect_rate=0)
    for vector in BAD:
        if vector.level == level:
            kind = vector.bytes[0] >> 4
            for pieces in cuts(vector.bytes):
                said, closed, client = talk(world, vector, pieces)
                assert closed, str(vector)
                if level < 5 or kind not in FROM_CLIENT:
                    continue
                told = said.partition(b"|")[0]
                if kind == pt.CONNECT and vector.reason == reasons.UNSUPPORTED_PROTOCOL_VERSION:
                    assert told in (b"", b"\x20\x02\x00\x01"), str(vector)  # in a form that all understand
                elif kind == pt.CONNECT:
                    assert reason_of(client, told) in (None, vector.reason), str(vector)
                else:
                    assert told[0] == pt.DISCONNECT << 4, str(vector)
                    assert reason_of(client, told) == vector.reason, str(vector)


@pytest.mark.parametrize("level", LEVELS)
def test_every_good_publish_arrives(make_world: Worlds, level: int) -> None:
    """As it was, to a subscriber of each version."""
    world = make_world(topic_alias_maximum=65_535)
    readers = [world.join(f"reader-{each}", each) for each in LEVELS]
    for reader in readers:
        reader.subscribe("a/b", qos=2)
    number = 0
    for vector in GOOD:
        sent = vector.packet
        if vector.level == level and isinstance(sent, p.Publish) and sent.topic == "a/b":
            if 0x0B in sent.properties:  # not for clients [MQTT-3.3.4-6]
                continue
            number += 1
            writer = world.join("writer", level)
            writer.send_raw(vector.bytes)
            for reader in readers:
                got = reader.take_one(p.Publish)
                assert (got.payload, got.qos) == (sent.payload, sent.qos), str(vector)
    assert number >= 3
