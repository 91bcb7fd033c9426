"""One client with credentials asks for as much work as it can: the others hardly notice.

Before there were bounds a client waited 31.9 s for the first of these, 32.6 s for the second. The limits here
are generous, because a machine that runs tests is busy with other things, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from tests.attacks.support import StopWatch
from tests.wire import nodes
from tests.wire.nodes import Node
from tests.wire.raw import V5, Raw, publish, subscribe

PATIENCE = 0.5  # seconds that an echo may take while the attack goes on
QUOTA_EXCEEDED = 0x97


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("attacked")
    nodes.migrate(directory / "template")
    with Node(directory / "node", directory / "template") as started:
        yield started


def attacker(node: Node, name: str) -> Raw:
    client = Raw(node.tcp, timeout=60)
    client.connect(V5, name)
    return client


def codes(client: Raw) -> bytes:
    """The reason codes of the next SUBACK."""
    while True:
        first, body = client.packet()
        if first == 0x90:
            return body[3:]


def test_one_subscribe_of_many_filters_over_many_cached_topics(node: Node) -> None:
    with attacker(node, "filters") as client:
        client.send(b"".join(publish(V5, f"own/{number}/x", b"x") for number in range(50_000)))
        client.ping()
        with StopWatch(node) as watch:
            client.send(subscribe(V5, *["own/#"] * 10_000))
            answer = codes(client)
            client.send(subscribe(V5, *(f"own/+/{number}" for number in range(1000))))
            assert codes(client).count(0) == 999  # limits.max_wildcard_subscriptions, with own/#
        assert answer[0] == 0 and answer[-1] == QUOTA_EXCEEDED
    assert watch.worst < PATIENCE, watch.worst


def test_filters_over_many_retained_messages(node: Node) -> None:
    with attacker(node, "retained") as client:
        for number in range(20_000):
            client.send(publish(V5, f"kept/{number}", b"x", retain=True))
        client.ping()
        with StopWatch(node) as watch:
            client.send(subscribe(V5, *["kept/#"] * 1000))
            assert codes(client) == b"\0" * 1000
            for _ in range(20_000):
                client.packet()
        for number in range(20_000):
            client.send(publish(V5, f"kept/{number}", b"", retain=True))
    assert watch.worst < PATIENCE, watch.worst


def test_filters_that_branch_at_each_level(node: Node) -> None:
    filters = ["/".join(levels) + "/#" for levels in product("a+", repeat=13)]
    with attacker(node, "branches") as client:
        granted = 0
        for start in range(0, len(filters), 500):
            client.send(subscribe(V5, *filters[start : start + 500]))
            granted += codes(client).count(0)
        assert granted == 1000  # limits.max_wildcard_subscriptions
        with StopWatch(node) as watch, attacker(node, "branches-publisher") as publisher:
            topic = "/".join(["a"] * 13)
            publisher.send(b"".join(publish(V5, f"{topic}/{number}", b"") for number in range(3000)))
            publisher.ping()
    assert watch.worst < PATIENCE, watch.worst


def test_many_subscriptions_that_come_and_go(node: Node) -> None:
    with StopWatch(node) as watch:
        for _ in range(3):
            with attacker(node, "crowd") as client:
                for start in range(0, 10_000, 1000):
                    client.send(subscribe(V5, *(f"crowd/{number}" for number in range(start, start + 1000))))
                    assert codes(client) == b"\0" * 1000
    assert watch.worst < PATIENCE, watch.worst


def test_topics_of_many_levels(node: Node) -> None:
    """Deeper than allowed: refused. As deep as allowed: the cache of routes is bounded by levels, too."""
    with attacker(node, "deep") as client:
        client.send(publish(V5, "/".join("x" * 200), b"", qos=1))
        assert client.closing()[-1][1][0] == 0x90  # topic name invalid
    before = node.rss()
    with attacker(node, "deep") as client:
        for number in range(40_000):
            client.send(publish(V5, "/".join([str(number)] * 32), b"x"))
        client.ping()
    assert node.rss() - before < 200e6
