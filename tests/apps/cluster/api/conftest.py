from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apps.auth.api.conftest import account, api, bobs, charlies, fresh_throttles, roles, service
from tests.apps.auth.conftest import alice, as_alice, as_bob, as_charlie, bob, charlie, pumps
from tests.apps.cluster.support.running import RunningNode, running
from tests.apps.gateway.support.world import World

__all__ = [
    "account",
    "alice",
    "api",
    "as_alice",
    "as_bob",
    "as_charlie",
    "bob",
    "bobs",
    "charlie",
    "charlies",
    "fresh_throttles",
    "pumps",
    "roles",
    "service",
]


@pytest.fixture
def node() -> Iterator[RunningNode]:
    world = World()
    with running(world) as found:
        yield found
        found.do(lambda: None)
    world.close()
