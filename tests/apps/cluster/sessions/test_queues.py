"""The queues in a real Redis: written by bridges, again and again, and by the node that has a session."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from redis import Redis

from apps.cluster.sessions import packing
from apps.cluster.sessions.queues import Gone, Queued, QueueLimits, Queues
from apps.cluster.sessions.subscription_index import Change, Index, Target
from apps.gateway.broker.messages import Message

ME = ("node", "incarnation")


class Node:
    """What a node's store does, script by script."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self._batch = redis.register_script(packing.script("batch"))
        self._resume = redis.register_script(packing.script("resume"))
        self._lapse = redis.register_script(packing.script("lapse"))
        self._expire = redis.register_script(packing.script("expire"))
        redis.hset("p:nodes", ME[0], f"{ME[1]} 1 {{}}")

    def steps(self, client: str, *steps: tuple[Any, ...], limits: tuple[Any, ...] = (100, 10_000, "")) -> Any:
        flat = [part for step in steps for part in step]
        return self._batch(keys=["p"], args=[*ME, *limits, 1, client, len(steps), *flat])

    def save(
        self, client: str, filter: str = "", qos: int = 1, online: bool = False, expiry: int = 60
    ) -> Any:
        """A session, with a subscription."""
        self.redis.set(f"p:owner:{client}", f"1 {ME[0]} {ME[1]}")
        steps: list[tuple[Any, ...]] = [("S", "", 1.5, expiry, "1" if online else "")]
        if filter:
            steps.append(("+", filter, packing.pack_options(qos, False, False, 0)))
        return self.steps(client, *steps)

    def end(self, client: str) -> Any:
        return self.steps(client, ("E",))

    def page(self, client: str, after: int = 0, count: int = 100, size: int = 10**6) -> list[bytes]:
        found = self.steps(client, ("l", after, count, size, 0))[2][0][3]
        return [packing.unpack(said, message).message.payload for _, said, message in found]

    def lapse(self) -> Any:
        return self._lapse(keys=["p"], args=[10, "node"])

    def expire(self, count: int = 100) -> Any:
        return self._expire(keys=["p"], args=[count])


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def node(redis: Redis) -> Node:
    return Node(redis)


@pytest.fixture
def bridge(redis_url: str) -> Iterator[Callable[..., Queues]]:
    made: list[Queues] = []

    def make(messages: int = 100, size: int = 10_000, policy: str = "drop_newest") -> Queues:
        made.append(Queues(redis_url, "p", QueueLimits(messages, size, policy)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def records(index: Index, *payloads: bytes, first: int = 0, topic: str = "t/a", **more: Any) -> list[Queued]:
    found = []
    for offset, payload in enumerate(payloads, first):
        message = Message(topic, payload, more.get("qos", 1))
        targets = index.match(topic, "")
        found.append(Queued("k/0", offset, message, more.get("once", ""), more.get("again", False), targets))
    return found


def test_who_writes_again_changes_nothing(node: Node, bridge: Callable[..., Queues]) -> None:
    node.save("one", "t/+")
    queues, index = bridge(), Index()
    queues.catch_up(index)
    queues.write(records(index, b"0", b"1", b"2"))
    queues.write(
        records(index, b"1", b"2", b"3", first=1)
    )  # another bridge, from the offset that was committed
    assert node.page("one") == [b"0", b"1", b"2", b"3"]
    assert (queues.written, queues.known) == (4, 2)


def test_the_index_follows_the_log_and_where_that_is_cut_begins_anew(
    node: Node, redis: Redis, bridge: Callable[..., Queues]
) -> None:
    queues, index = bridge(), Index()
    queues.catch_up(index)
    assert not index.match("t/a", "")
    node.save("one", "t/+")
    node.save("two", "t/#", qos=2)
    node.save("none", "t/a", qos=0)
    node.save("shared", "$share/g/t/a")
    queues.catch_up(index)
    assert {target.client_id: target.qos for target in index.match("t/a", "")} == {"one": 1, "two": 2}
    assert [each.members for each in index.match_shared("t/a")] == [["shared"]]
    assert set(index.levels) == {"t"}
    node.end("one")
    redis.delete("p:index")
    queues.catch_up(index)
    assert [target.client_id for target in index.match("t/a", "")] == ["two"]
    node.end("two")
    node.end("shared")
    queues.catch_up(index)
    assert not index.levels and not index.match_shared("t/a")


def test_a_message_for_several_is_stored_once_and_goes_with_the_last(
    node: Node, redis: Redis, bridge: Callable[..., Queues]
) -> None:
    for name in ("one", "two", "three"):
        node.save(name, "t/a")
    queues, index = bridge(), Index()
    queues.catch_up(index)
    queues.write(records(index, b"x"))
    assert redis.hget("p:message:k/0/0", "n") == b"3"
    node.steps("one", ("=", 1, "7 0"))
    node.steps("one", ("x", 1))
    node.steps("two", ("p",))
    assert redis.hget("p:message:k/0/0", "n") == b"1"
    node.end("three")
    assert not redis.exists("p:message:k/0/0")
    assert (redis.hget("p:session:one", "bytes"), redis.xlen("p:queue:one")) == (b"0", 0)


@pytest.mark.parametrize(
    ("policy", "kept", "full"),
    [("drop_newest", [b"0", b"1"], 0), ("drop_oldest", [b"2", b"3"], 0), ("disconnect", [b"0", b"1"], 1)],
)
def test_what_is_too_much_is_dropped_and_counted(
    node: Node, redis: Redis, bridge: Callable[..., Queues], policy: str, kept: list[bytes], full: int
) -> None:
    node.save("one", "t/a", online=True)
    pubsub = redis.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("p:to:node")
    queues, index = bridge(messages=2, policy=policy), Index()
    queues.catch_up(index)
    queues.write(records(index, b"0", b"1", b"2", b"3"))
    assert node.page("one") == kept
    assert queues.dropped == 2
    message = pubsub.get_message(timeout=5) or pubsub.get_message(timeout=5)  # it says that it listens
    pubsub.close()
    assert message is not None
    assert packing.msgpack.unpackb(message["data"]) == ["wake", "bridge", [["one", full]]]
    assert counted(redis) == {("one", "queue_full", "t/a"): 2}
    queues.unserved(Counter({"t/b": 3}))
    assert counted(redis) == {("one", "queue_full", "t/a"): 2, ("", "no_share_member", "t/b"): 3}


def counted(redis: Redis) -> dict[tuple[str, str, str], int]:
    """What a node is to count that was dropped."""
    return {packing.unpack_drop(kind): int(count) for kind, count in redis.hgetall("p:drops").items()}


def test_drops_that_nobody_counts_are_bounded(
    node: Node, redis: Redis, bridge: Callable[..., Queues]
) -> None:
    node.save("one", "t/#")
    queues, index = bridge(messages=1), Index()
    queues.catch_up(index)
    for number in range(1200):
        queues.write(records(index, b"x", first=number, topic=f"t/{number}"))
    found = counted(redis)
    assert sum(found.values()) == 1199
    assert len(found) == 1001 and found["", "queue_full", ""] == 199


def test_what_is_in_flight_is_not_dropped(node: Node, bridge: Callable[..., Queues]) -> None:
    node.save("one", "t/a")
    queues, index = bridge(messages=2, policy="drop_oldest"), Index()
    queues.catch_up(index)
    queues.write(records(index, b"0", b"1"))
    node.steps("one", ("=", 1, "7 0"))
    queues.write(records(index, b"2", first=2))
    assert node.page("one") == [b"0", b"2"]


def test_a_qos_2_message_that_is_written_again_is_queued_once(
    node: Node, bridge: Callable[..., Queues]
) -> None:
    node.save("one", "t/a", qos=2)
    queues, index = bridge(), Index()
    queues.catch_up(index)
    queues.write(records(index, b"x", qos=2, once="writer-1"))
    queues.write(records(index, b"x", qos=2, once="writer-1", again=True, first=1))
    queues.write(records(index, b"y", qos=2, once="writer-2", again=True, first=2))  # it had not come at all
    assert node.page("one") == [b"x", b"y"]


def test_a_qos_2_message_whose_first_record_comes_after_its_second_is_queued_once(
    node: Node, bridge: Callable[..., Queues]
) -> None:
    node.save("one", "t/a", qos=2)
    queues, index = bridge(), Index()
    queues.catch_up(index)
    queues.write(records(index, b"x", qos=2, once="writer-1", again=True))
    for _ in range(2):
        queues.write(records(index, b"x", qos=2, once="writer-1", first=1))
    assert node.page("one") == [b"x"]


def test_of_another_nodes_session_nothing_is_written(node: Node, redis: Redis) -> None:
    node.save("one", "t/a")
    redis.set("p:owner:one", "2 other incarnation")
    assert node.end("one")[0] == [1]
    assert redis.exists("p:session:one")
    assert node._resume(keys=["p"], args=[*ME, "one"]) == b"lost"


def test_a_session_ends_when_its_time_is_over(
    node: Node, redis: Redis, bridge: Callable[..., Queues]
) -> None:
    node.save("one", "t/a", online=True, expiry=1)
    node.save("stays", "t/a", online=True, expiry=2**32 - 1)
    queues, index = bridge(), Index()
    queues.catch_up(index)
    for name in ("one", "stays"):
        node.steps(name, ("S", "", 1.5, 1 if name == "one" else 2**32 - 1, ""))
    queues.write(records(index, b"x"))
    time.sleep(1.1)
    assert node.lapse() == []  # a node has it
    redis.delete("p:owner:one", "p:owner:stays")
    redis.zadd("p:expiring", {"one": 1})
    assert node.lapse() == [b"one", 1]
    assert not redis.keys("*:one")
    assert redis.hget("p:routes:@sessions -", "t/a") == b"1"


def test_pages_say_how_much_is_behind_them(node: Node, bridge: Callable[..., Queues]) -> None:
    node.save("one", "t/a")
    queues, index = bridge(), Index()
    queues.catch_up(index)
    queues.write(records(index, *(b"%d" % number for number in range(10))))
    node.steps("one", ("=", 1, "7 0"))
    (page,) = node.steps("one", ("l", 1, 3, 10**6, 0))[2]
    _, rest, size, found = page
    assert (rest, [int(place) for place, _, _ in found]) == (6, [2, 3, 4])
    assert int(size) == sum(each.message.size for each in records(index, *(b"%d" % n for n in range(10))))
    assert len(node.page("one", size=1)) == 1  # one in any case


def test_no_local_and_several_subscriptions_of_one_client() -> None:
    index = Index()
    index.apply(
        [
            Change("one", "t/+", packing.pack_options(1, False, False, 5)),
            Change("one", "t/#", packing.pack_options(2, False, True, 6)),
            Change("two", "t/a", packing.pack_options(1, True, False, 0)),
        ]
    )
    both = {target.client_id: target for target in index.match("t/a", "three")}
    assert both["one"].qos == 2 and both["one"].as_published
    assert both["one"].identifiers in (b"\x0b\x05\x0b\x06", b"\x0b\x06\x0b\x05")
    assert set(both) == {"one", "two"}
    assert [target.client_id for target in index.match("t/a", "two")] == ["one"]


def shared(offset: int, *targets: Target) -> Queued:
    return Queued("k/0", offset, Message("t/a", b"%d" % offset, 1), "", False, targets)


def test_whoever_of_a_shared_subscription_is_chosen_again_gets_it_once(
    node: Node, redis: Redis, bridge: Callable[..., Queues]
) -> None:
    """Also where the member has the message by another subscription of its own."""
    for name in ("one", "two"):
        node.save(name, "$share/g/t/a")
    one, two = (Target(name, 1, False, b"", "$share/g/t/a") for name in ("one", "two"))
    queues = bridge()
    queues.write([shared(0, one._replace(via=""), one), shared(1, two)])
    queues.write([shared(0, two), shared(1, one), shared(2, two)])  # another bridge takes others
    assert (node.page("one"), node.page("two")) == ([b"0", b"0"], [b"1", b"2"])
    node.end("one")
    with pytest.raises(Gone):
        queues.write([shared(3, one), shared(4, two)])
    queues.write([shared(3, two), shared(4, two)])
    assert node.page("two") == [b"1", b"2", b"3", b"4"]
    node.end("two")
    assert not redis.keys("p:taken:*")


def test_a_member_that_is_online_is_chosen_in_turn_before_those_that_are_away() -> None:
    index = Index()
    options = packing.pack_options(1, False, False, 0)
    index.apply([Change(name, "$share/g/t/+", options) for name in ("a", "b", "c", "d")])
    index.apply([Change("d", "$share/g/t/+", packing.pack_options(0, False, False, 0))])
    (group,) = index.match_shared("t/x")
    assert index.shared("g/t/+") is group and index.levels == {"t": 3}

    def turns(*online: str) -> list[str]:
        return [target.client_id for _ in range(4) if (target := group.choose(online)) is not None]

    assert turns("a", "c", "d") == ["a", "c", "a", "c"]
    assert sorted(turns()[:3]) == ["a", "b", "c"]
    index.apply([Change(name, "$share/g/t/+", b"") for name in ("a", "b", "c")])
    assert group.choose(()) is None


def test_what_expires_leaves_the_queue_of_a_client_that_is_away(
    node: Node, redis: Redis, bridge: Callable[..., Queues]
) -> None:
    for name in ("one", "two", "ended"):
        node.save(name, "t/a")
    queues, index = bridge(), Index()
    queues.catch_up(index)
    now = time.time()
    messages = [
        Message("t/a", b"%d" % number, 1, expires=expires)
        for number, expires in enumerate((now - 5, 0.0, now - 9, now + 60, now - 5))
    ]
    targets = index.match("t/a", "")
    queues.write([Queued("k/0", at, each, "", False, targets) for at, each in enumerate(messages)])
    node.steps("one", ("=", 1, "7 0"))  # in flight: it is the client's
    node.end("ended")
    assert node.expire() == []  # nodes have them
    redis.delete("p:owner:one", "p:owner:two")
    redis.zadd("p:due", {"one": 1, "two": 2})
    found = [drops for _ in range(7) if (drops := node.expire(1))]
    assert sorted(drops[0] for drops in found) == [b"one", b"one", b"two", b"two", b"two"]
    assert all(drops[1:] == [b"", b"expired", b"t/a"] for drops in found)
    assert node.expire() == []
    assert {name.decode(): score for name, score in redis.zrange("p:due", 0, -1, withscores=True)} == {
        "one": int(now + 61),
        "two": int(now + 61),
    }
    assert {b"one", b"two"} <= redis.smembers("p:grown")
    redis.set("p:owner:one", "1 node incarnation")
    redis.set("p:owner:two", "1 node incarnation")
    assert (node.page("one"), node.page("two")) == ([b"0", b"1", b"3"], [b"1", b"3"])
    left = sum(int(redis.hget(key, "n") or 0) for key in redis.keys("p:message:*"))
    assert (left, redis.hget("p:session:two", "bytes")) == (5, b"%d" % (2 * messages[0].size))
    for name in ("one", "two"):
        node.steps(name, ("p",), ("x", 1))
    assert not redis.keys("p:due*:*") and not redis.keys("p:message:*")
