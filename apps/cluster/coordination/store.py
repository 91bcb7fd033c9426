"""Redis, as the nodes of a cluster use it: scripts that run as one step, and news by publish and subscribe.

Keys begin with the cluster's prefix. One Redis (or one master of a Sentinel), not Redis Cluster: the scripts
touch keys whose names they find in others.

| key | type | what |
|---|---|---|
| `cluster` | string | a random id; another one means that Redis lost its data |
| `format` | string | the version of all this (`versions.FORMAT`) |
| `epoch` | integer | the last fencing epoch that was given out |
| `nodes` | hash | name -> "<incarnation> <count of heartbeats> <JSON>" |
| `graves` | hash | "<name> <incarnation>" of a failed node -> "<token> <who runs its failover> <when>" |
| `owner:<client id>` | string | "<epoch> <name> <incarnation>" of the node that has the client's session |
| `clients:<name> <incarnation>` | hash | a node's client ids -> epoch |
| `wills:<name> <incarnation>` | hash | client id -> "<delay> <due> <will>" |
| `routes:<name> <incarnation>` | hash | filter -> "1", or `routes._Members` if it is shared; "" -> version |
| `retained`, `retained:expiring` | hash, sorted set | by topic: the message; when it expires |
| `retained:seq` | integer | number of the last change |
| `session:<client id>` | hash | a persistent session: `node` ("": its client is away), `seq`, `bytes` ... |
| `sessions`, `expiring` | set, sorted set | their client ids; when they end |
| `subs:<client id>` | hash | filter as it was written -> [QoS, no local, as published, identifier] |
| `index`, `index:version` | stream, integer | the log of changes in these, for bridges; its last number |
| `routes:@sessions -` | hash | filter -> how many sessions want records for it; "" -> version |
| `queue:<client id>` | stream | `d`: what is said of a message; `m`: it, or "" where it is in `message:` |
| `message:<Kafka topic>/<partition>/<offset>` | hash | `m`: a message of several queues, `n`: of how many |
| `due:<client id>`, `due` | sorted sets | places in its queue by when they expire; client ids by the first |
| `marks:<client id>` | hash | "<Kafka topic>/<partition>" -> the next offset for the queue |
| `taken:$share/<name>/<filter>` | hash | the same for the queues of all its members |
| `inflight:<client id>` | hash | place in the queue -> "<packet id> <state>" |
| `incoming:<client id>` | hash | QoS 2 identifier -> what its message is known by |
| `ids:<hour>` | hash | what QoS 2 messages are known by -> where they stand |
| `drops` | hash | what bridges dropped, [client id, reason, topic] -> how often, until a node counts it |
| `news`, `to:<name>` | channels | MessagePack lists: what changed; what one node asks another |
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import msgpack
import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

SCRIPTS: Final = Path(__file__).parent / "lua"


class RedisUnavailable(Exception):
    """Redis does not answer, or not as it should. What was asked may have been done, or may yet be."""


class Store:
    def __init__(self, url: str, prefix: str, timeout: float) -> None:
        """`timeout`: seconds that an answer may take."""
        self.prefix = prefix
        self._timeout = timeout
        # No retries: what a script did is not to be done again by somebody who knows nothing of it. None of
        # redis-py's timeouts: it would send by `asyncio.wait_for`, which loses cancellations in Python 3.11.
        self._redis = redis.asyncio.Redis.from_url(
            url,
            socket_timeout=None,
            socket_connect_timeout=None,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._scripts = {
            path.stem: self._redis.register_script(path.read_text()) for path in SCRIPTS.glob("*.lua")
        }

    async def run(self, script: str, *arguments: str | bytes | int) -> Any:
        """Raises `RedisUnavailable`."""
        async with self._answering():
            return await self._scripts[script](keys=[self.prefix], args=arguments)

    async def table(self, key: str) -> dict[bytes, bytes]:
        """A hash. Raises `RedisUnavailable`."""
        async with self._answering():
            found: dict[bytes, bytes] = await self._redis.hgetall(f"{self.prefix}:{key}")  # type: ignore[assignment]
            return found

    async def scan(self, key: str, at_once: int) -> AsyncIterator[dict[bytes, bytes]]:
        """A large hash in pieces; what changes meanwhile may come in either state, or twice."""
        cursor = 0
        while True:
            async with self._answering():
                cursor, piece = await self._redis.hscan(f"{self.prefix}:{key}", cursor, count=at_once)
            yield cast("dict[bytes, bytes]", piece)
            if not cursor:
                return

    async def number(self, key: str) -> int:
        """0 where there is none. Raises `RedisUnavailable`."""
        async with self._answering():
            return int(await self._redis.get(f"{self.prefix}:{key}") or 0)

    async def text(self, key: str) -> str:
        """ "" where there is none. Raises `RedisUnavailable`."""
        async with self._answering():
            found: Any = await self._redis.get(f"{self.prefix}:{key}")
            return str(found.decode()) if found else ""

    async def settle(self, key: str, value: str) -> str:
        """What stands there; `value`, from now on, where there was nothing. Raises `RedisUnavailable`."""
        async with self._answering():
            await self._redis.set(f"{self.prefix}:{key}", value, nx=True)
            found: Any = await self._redis.get(f"{self.prefix}:{key}")
            return str(found.decode())

    async def tell(self, messages: Iterable[tuple[str, list[Any]]]) -> None:
        """Publish (channel, message) pairs. Raises `RedisUnavailable`."""
        async with self._answering(), self._redis.pipeline(transaction=False) as pipeline:
            for channel, message in messages:
                pipeline.publish(f"{self.prefix}:{channel}", pack(message))
            await pipeline.execute()

    async def run_id(self) -> str:
        """Of the Redis process: another one after each of its starts. Raises `RedisUnavailable`."""
        async with self._answering():
            return str((await self._redis.info("server"))["run_id"])

    async def listen(self, *channels: str) -> PubSub:
        """Subscribed; `aclose` it. Raises `RedisUnavailable`."""
        pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        try:
            async with self._answering():
                await pubsub.subscribe(*(f"{self.prefix}:{channel}" for channel in channels))
        except BaseException:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
            raise
        return pubsub

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        await self._redis.aclose()


def pack(message: list[Any]) -> bytes:
    packed: bytes = msgpack.packb(message)
    return packed


def unpack(data: bytes) -> list[Any]:
    """The message, and what a script has added behind it."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(data)
    parts = list(unpacker)
    return [*parts[0], *parts[1:]]
