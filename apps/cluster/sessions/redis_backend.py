"""Redis as a node's session store uses it (`apps.gateway.sessions.batch_store.Backend`), in one thread.

What a batch holds of one session goes into one script, which does nothing where another node has the session.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from apps.cluster.sessions import packing
from apps.cluster.sessions.queues import QueueLimits
from apps.gateway.broker.messages import Delivery
from apps.gateway.mqtt import topics
from apps.gateway.sessions.batch import PLACE_BITS, Batch, Load, Outcome
from apps.gateway.sessions.remote import Stored

PLACES: Final = (1 << PLACE_BITS) - 1
BATCH_SIZE: Final = 4000  # arguments of one script, unless one session has more
BYTES: Final = 2_097_152  # in them
LOOK_BATCH_SIZE: Final = 500  # queues, or names

Me = Callable[[], "tuple[str, str] | None"]


class NotMine(Exception):
    """The client is not this node's, or not any more."""


@dataclass(slots=True)
class _Steps:
    """What is to be done to one session."""

    key: int = 0
    count: int = 0
    size: int = 0
    arguments: list[Any] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    purges: list[Any] = field(default_factory=list)

    def add(self, *step: Any) -> None:
        self.count += 1
        self.arguments += step


class RedisSessions:
    def __init__(self, url: str, prefix: str, limits: QueueLimits, me: Me, names: dict[int, str]) -> None:
        """`me`: name and incarnation of this node while it is a member. `names`: session key -> client id."""
        self._prefix = prefix
        self._limits = limits
        self._me = me
        self._names = names
        self._redis = Redis.from_url(
            url, socket_timeout=10, socket_connect_timeout=5, protocol=2, retry=Retry(NoBackoff(), 0)
        )
        self._batch = self._redis.register_script(packing.script("batch"))
        self._resume = self._redis.register_script(packing.script("resume"))
        self._lapse = self._redis.register_script(packing.script("lapse"))
        self._expire = self._redis.register_script(packing.script("expire"))

    def close(self) -> None:
        self._redis.close()

    # Writing --------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> Outcome:
        me = self._me()
        if me is None:
            return Outcome(error="this node is not a member of its cluster now")
        outcome = Outcome()
        try:
            for some in _portions(self._steps(batch)):
                self._run(me, some, outcome)
        except RedisError as error:
            return Outcome(error=str(error) or type(error).__name__)
        return outcome

    def _steps(self, batch: Batch) -> dict[str, _Steps]:
        """By client id, in the order in which they have to be done."""
        found: dict[str, _Steps] = {}
        ends = batch.ends
        for key in ends:
            self._of(found, key).add("E")
        for key, row in batch.saves.items():
            _, _, username, created, expiry, _, online = row
            self._of(found, key).add("S", username or "", created, expiry, "1" if online else "")
        for (key, name), values in batch.subscriptions.items():
            if key not in ends:
                options = packing.pack_options(*values[4:]) if values is not None else b""
                self._of(found, key).add("+", name, options)
        for (key, packet_id), known in batch.incoming.items():
            if key not in ends:
                once = batch.onces.get((key, packet_id), "") if known else ""
                self._of(found, key).add("i", packet_id, once)
        for put in batch.puts.values():
            if put.durable.key not in ends:
                self._append(self._of(found, put.durable.key), put.delivery)
        for place, (packet_id, state) in batch.assigns.items():
            if place >> PLACE_BITS not in ends:
                self._of(found, place >> PLACE_BITS).add("=", place & PLACES, f"{packet_id} {state}")
        for gone in batch.removes:
            if gone >> PLACE_BITS not in ends:
                self._of(found, gone >> PLACE_BITS).add("x", gone & PLACES)
        for durable, _ in batch.purges:
            if durable.key not in ends:
                steps = self._of(found, durable.key)
                steps.add("p")
                steps.purges.append(durable)
        for load in batch.loads:
            if load.durable.key not in ends:
                steps = self._of(found, load.durable.key)
                steps.add("l", load.after, load.count, load.size, load.known)
                steps.loads.append(load)
        return found

    def _of(self, found: dict[str, _Steps], key: int) -> _Steps:
        client_id = self._names.get(key, "")
        steps = found.get(client_id)
        if steps is None:
            steps = found[client_id] = _Steps()
        steps.key = max(steps.key, key)
        return steps

    def _append(self, steps: _Steps, delivery: Delivery) -> None:
        message = packing.pack_message(delivery.message)
        kind = (delivery.qos, delivery.retain, delivery.identifiers)
        said = packing.said(*kind, delivery.size, delivery.queued_at, "", delivery.message.expires)
        steps.add("a", delivery.size, delivery.message.topic, said, message)
        steps.size += len(message)

    def _run(self, me: tuple[str, str], some: list[tuple[str, _Steps]], outcome: Outcome) -> None:
        limits = self._limits
        arguments: list[Any] = [*me, limits.messages, limits.bytes, limits.policy, len(some)]
        for client_id, steps in some:
            arguments += (client_id, steps.count, *steps.arguments)
        answer: Any = self._batch(keys=[self._prefix], args=arguments)
        lost, grown, pages, purges, drops, ended, version, nodes = answer
        keys = {client_id: steps.key for client_id, steps in some}
        outcome.lost += [some[place - 1][1].key for place in lost]
        outcome.grown += [some[place - 1][1].key for place in grown]
        for place, rest, size, found in pages:
            load = some[place - 1][1].loads.pop(0)
            page = [(int(at), packing.unpack(said, message)) for at, said, message in found if message]
            left = max(int(size) - load.held - sum(each.size for _, each in page), 0)
            outcome.loads.append((load, page, max(int(rest), 0), left))
        for place, found in purges:
            durable = some[place - 1][1].purges.pop(0)
            outcome.purges.append((durable, _counted(found)))
        fours = iter(drops)
        for client, _, reason, topic in zip(fours, fours, fours, fours, strict=True):
            outcome.drops.append((keys[client.decode()], reason.decode(), topic.decode(), 1))
        outcome.ended += [
            (client.decode(), count) for client, count in zip(ended[::2], ended[1::2], strict=True)
        ]
        if version:
            outcome.version = max(outcome.version, version)
            incarnations = (value.split(b" ", 1)[0].decode() for value in nodes[1::2])
            names = (name.decode() for name in nodes[::2])
            outcome.nodes |= {
                f"{name} {incarnation}" for name, incarnation in zip(names, incarnations, strict=True)
            }

    # Reading --------------------------------------------------------------------------------------

    def resume(self, client_id: str) -> Stored | None:
        """The session of a client that is this node's; None: there is none. Raises RedisError, `NotMine`."""
        me = self._me()
        if me is None:
            raise NotMine("this node is not a member of its cluster now")
        answer: Any = self._resume(keys=[self._prefix], args=[*me, client_id])
        if answer == b"lost":
            raise NotMine("another node has it")
        if not answer:
            return None
        session, subscriptions, incoming, flying, queued = answer
        values = _pairs(session)
        fours = iter(flying)
        in_flight = []
        for place, state, said, message in sorted(
            zip(fours, fours, fours, fours, strict=True), key=lambda each: int(each[0])
        ):
            packet_id, phase = state.split()
            if message:
                in_flight.append((int(place), int(packet_id), int(phase), packing.unpack(said, message)))
        return Stored(
            client_id,
            values[b"username"].decode() or None,
            float(values[b"created"]),
            int(values[b"expiry"]),
            float(values.get(b"expires_at", 0)),
            [_subscription(name.decode(), packed) for name, packed in _pairs(subscriptions).items()],
            {int(packet_id): once.decode() for packet_id, once in _pairs(incoming).items()},
            in_flight,
            queued - len(in_flight),
            max(int(values.get(b"bytes", 0)) - sum(each.size for _, _, _, each in in_flight), 0),
        )

    def page(self, key: int, after: int, count: int, size: int) -> list[tuple[int, Delivery]]:
        with contextlib.suppress(RedisError):
            return self._page(self._names.get(key, ""), after, count)
        return []

    def first(self, client_id: str, count: int) -> list[Delivery] | None:
        """What waits for a client, whoever has its session; None: there is none. Raises RedisError."""
        if not self._redis.exists(f"{self._prefix}:session:{client_id}"):
            return None
        return [delivery for _, delivery in self._page(client_id, 0, count)]

    def _page(self, client_id: str, after: int, count: int) -> list[tuple[int, Delivery]]:
        found: list[tuple[int, Delivery]] = []
        if client_id:
            flying = set(self._redis.hkeys(f"{self._prefix}:inflight:{client_id}"))
            queue = f"{self._prefix}:queue:{client_id}"
            entries: Any = self._redis.xrange(queue, f"({after}-0", count=count + len(flying))
            for identifier, fields in entries:
                place, said, message = identifier.partition(b"-")[0], fields[b"d"], fields[b"m"]
                if place in flying or len(found) >= count:
                    continue
                if not message:
                    name = packing.stored_as(said)
                    message = self._redis.hget(f"{self._prefix}:message:{name}", "m")
                if message:
                    found.append((int(place), packing.unpack(said, message)))
        return found

    def waiting(self, client_ids: list[str]) -> list[str]:
        """Of these clients those whose queues hold more than what is in flight."""
        found: list[str] = []
        for start in range(0, len(client_ids), LOOK_BATCH_SIZE):
            some = client_ids[start : start + LOOK_BATCH_SIZE]
            with self._redis.pipeline(transaction=False) as pipeline:
                for client_id in some:
                    pipeline.xlen(f"{self._prefix}:queue:{client_id}")
                    pipeline.hlen(f"{self._prefix}:inflight:{client_id}")
                counts = pipeline.execute()
            found += [
                client_id
                for client_id, queued, flying in zip(some, counts[::2], counts[1::2], strict=True)
                if queued > flying
            ]
        return found

    def grown(self, count: int) -> list[str]:
        """Clients that are away whose queues have grown since. Raises RedisError."""
        clients: Any = self._redis.spop(f"{self._prefix}:grown", count)
        return [client.decode() for client in clients or ()]

    def sizes(self, client_ids: list[str]) -> list[tuple[int, int]]:
        """Messages and bytes in each queue. Raises RedisError."""
        with self._redis.pipeline(transaction=False) as pipeline:
            for client_id in client_ids:
                pipeline.xlen(f"{self._prefix}:queue:{client_id}")
                pipeline.hget(f"{self._prefix}:session:{client_id}", "bytes")
            found = pipeline.execute()
        return [(queued, int(size or 0)) for queued, size in zip(found[::2], found[1::2], strict=True)]

    def dropped(self) -> list[tuple[str, str, str, int]]:
        """Takes what bridges dropped: client id, reason, topic, how many. Raises RedisError."""
        with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(f"{self._prefix}:drops")
            pipeline.delete(f"{self._prefix}:drops")
            found, _ = pipeline.execute()
        return [(*packing.unpack_drop(kind), int(count)) for kind, count in found.items()]

    def forget_onces(self, onces: list[str]) -> None:
        """What QoS 2 messages were known by that will not come again. Raises RedisError."""
        hour = int(time.time()) // 3600
        with self._redis.pipeline(transaction=False) as pipeline:
            for start in range(0, len(onces), LOOK_BATCH_SIZE):
                for each in (hour, hour - 1):
                    pipeline.hdel(f"{self._prefix}:ids:{each}", *onces[start : start + LOOK_BATCH_SIZE])
            pipeline.execute()

    def risks(self) -> list[str]:
        """How this Redis may lose what it acknowledged, and the remedy. Raises RedisError."""
        found: Any = self._redis.info()
        policy = found.get("maxmemory_policy", "noeviction")
        risks = []
        if policy != "noeviction":
            risks.append(f"maxmemory-policy {policy} evicts keys when memory is full: set noeviction")
        if not found.get("aof_enabled", 1):
            risks.append("it forgets when its process dies: set appendonly yes")
        return risks

    def lapse(self, count: int, name: str) -> list[tuple[str, int]]:
        """End sessions whose time is over: client ids, and how many messages each had. Raises RedisError."""
        flat: Any = self._lapse(keys=[self._prefix], args=[count, name])
        return [(client.decode(), queued) for client, queued in zip(flat[::2], flat[1::2], strict=True)]

    def expire(self, count: int) -> Counter[tuple[str, str, str]]:
        """Drop messages whose time is over from queues of clients that are away. Raises RedisError.

        How many, by client id, reason and topic; `count` at most, and then there may be more.
        """
        fours = iter(self._expire(keys=[self._prefix], args=[count]))
        return Counter(
            (client.decode(), reason.decode(), topic.decode())
            for client, _, reason, topic in zip(fours, fours, fours, fours, strict=True)
        )


def _portions(steps: dict[str, _Steps]) -> Iterator[list[tuple[str, _Steps]]]:
    some: list[tuple[str, _Steps]] = []
    count = size = 0
    for each in steps.items():
        some.append(each)
        count += len(each[1].arguments)
        size += each[1].size
        if count >= BATCH_SIZE or size >= BYTES:
            yield some
            some, count, size = [], 0, 0
    if some:
        yield some


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _counted(found: list[bytes]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for topic in found:
        counts[topic.decode()] = counts.get(topic.decode(), 0) + 1
    return counts


def _subscription(name: str, packed: bytes) -> tuple[str, str, str, int, bool, bool, int]:
    share, filter = topics.split_share(name)
    return name, filter, share, *packing.unpack_options(packed)
