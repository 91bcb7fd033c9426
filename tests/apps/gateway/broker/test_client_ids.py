"""Client identifiers (section 3.1.3.1)."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import reasons
from tests.apps.gateway.support.world import World

ASSIGNED = 0x12


@pytest.mark.parametrize("clean", (True, False))
def test_5_0_tells_the_assigned_one(world: World, clean: bool) -> None:
    """[MQTT-3.1.3-6], [MQTT-3.1.3-7], [MQTT-3.2.2-16]"""
    client = world.join("", clean=clean, properties={0x11: 100})
    assert client.connack is not None
    name = client.connack.properties[ASSIGNED]
    assert isinstance(name, str) and name in world.node.sessions
    client.drop()
    again = world.join(name, clean=False, properties={0x11: 100})
    assert again.connack is not None and again.connack.session_present
    assert ASSIGNED not in again.connack.properties


def test_each_gets_another(world: World) -> None:
    for _ in range(3):
        world.join("")
    assert world.node.stats.connections == 3


@pytest.mark.parametrize(
    ("level", "clean", "allowed"), [(4, True, True), (4, False, False), (3, True, False)]
)
def test_3_x(world: World, level: int, clean: bool, allowed: bool) -> None:
    """[MQTT-3.1.3-7], [MQTT-3.1.3-8] of 3.1.1; 3.1 wants at least one character."""
    client = world.dial(level)
    client.connect("", clean=clean)
    assert client.connack is not None
    assert client.connack.reason == (0 if allowed else 2)
    assert client.closed == (not allowed)


@pytest.mark.parametrize("name", ("x", "x" * 23, "x" * 65_535, "ü/#+ \N{SNOWMAN}", "\x01"))
@pytest.mark.parametrize("level", (3, 4, 5))
def test_any_text_is_good(world: World, level: int, name: str) -> None:
    world.join(name, level)
    assert name in world.node.sessions


@pytest.mark.parametrize("level", (4, 5))
def test_long_ones_are_counted(level: int, world: World) -> None:
    """Sessions stay when their clients go: what they are called must not cost memory that nobody counts."""
    before = world.node.stats.held
    world.join("x" * 60_000, level, clean=False, properties={0x11: 100} if level == 5 else {})
    assert world.node.stats.held - before >= 60_000


def test_no_room_for_another_session(world: World) -> None:
    world.limits.node_bytes = 100_000
    world.join("1" * 60_000)
    client = world.dial()
    client.connect("2" * 60_000)
    assert client.connack is not None and client.connack.reason == reasons.QUOTA_EXCEEDED
    world.join("3")
