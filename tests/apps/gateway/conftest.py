from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from apps.gateway.broker.limits import Limits
from tests.apps.gateway.support.world import World

Worlds = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[Worlds]:
    """Starts nodes: `make_world(door=..., sys=..., <limit>=...)`. Each must be left without a trace."""
    worlds: list[World] = []

    def start(door: Any = None, sys: float = 0.0, **limits: Any) -> World:
        world = World(Limits(**limits), door, sys)
        worlds.append(world)
        return world

    yield start
    for world in worlds:
        world.close()


@pytest.fixture
def world(make_world: Worlds) -> World:
    """One node with the default limits."""
    return make_world()
