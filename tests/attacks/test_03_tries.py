"""Point 3: filters that branch at each level. Before, one slice of such topics held all up for 1.8 s."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.attacks.support import attacker, codes, through, undisturbed
from tests.wire.nodes import Node
from tests.wire.raw import V5, publish, subscribe


@pytest.fixture(scope="module")
def node(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("branching")
    with Node(directory / "node", template) as started:
        yield started


def test_filters_that_branch_at_each_level(node: Node) -> None:
    filters = ["/".join(levels) + "/#" for levels in product("a+", repeat=13)]
    with attacker(node, "branches") as client:
        granted = 0
        for start in range(0, len(filters), 500):
            client.send(subscribe(V5, *filters[start : start + 500]))
            granted += codes(client).count(0)
        assert granted == 1000  # limits.max_wildcard_subscriptions

        def attack() -> None:
            topic = "/".join(["a"] * 13)
            with attacker(node, "publisher") as publisher:
                publisher.send(b"".join(publish(V5, f"{topic}/{number}", b"") for number in range(3000)))
                publisher.ping()
            through(client)

        undisturbed(node, attack)


def test_many_clients_branch_together(node: Node) -> None:
    """Each within its limit: what they cost counts for who publishes, in its own turns."""
    filters = ["/".join(levels) + "/#" for levels in product("a+", repeat=9)]
    some = [attacker(node, f"branches-{number}") for number in range(10)]
    for client in some:
        client.send(subscribe(V5, *filters))
        assert codes(client) == b"\0" * len(filters)

    def attack() -> None:
        topic = "/".join(["a"] * 9)
        with attacker(node, "publisher") as publisher:
            publisher.send(b"".join(publish(V5, f"{topic}/{number}", b"") for number in range(500)))
            publisher.ping()

    undisturbed(node, attack)
    for client in some:
        client.close()
