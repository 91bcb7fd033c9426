from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.apps.cluster.factories import NodeFactory
from tests.apps.cluster.support.running import RunningNode, running
from tests.apps.gateway.support.world import World


@pytest.fixture
def node(transactional_db: None) -> Iterator[RunningNode]:
    """A running node called "test", which the directory knows."""
    NodeFactory(name="test")
    world = World()
    with running(world) as started:
        yield started
