"""The composition root of sessions that a cluster keeps: what this node does with those of its clients."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from redis.exceptions import RedisError

from apps.cluster.coordination.member import Member
from apps.cluster.directory import names, writer
from apps.cluster.node_rpc import Handler
from apps.cluster.sessions import packing
from apps.cluster.sessions.queues import QueueLimits
from apps.cluster.sessions.redis_backend import NotMine, RedisSessions
from apps.common.database import DatabaseThread, DatabaseUnavailable
from apps.common.node_services import NodeServices
from apps.gateway.broker import stats as st
from apps.gateway.broker.messages import Message
from apps.gateway.broker.node import Node
from apps.gateway.broker.remote import Remote
from apps.gateway.mqtt import reasons
from apps.gateway.operator.sessions import CommandRefused
from apps.gateway.sessions.remote import RemoteStore, Stored
from apps.gateway.sessions.worker import Worker
from gmqtt_platform.config.loader import Conf

logger = logging.getLogger(__name__)

UPKEEP: Final = 1.0  # seconds between looks for sessions whose time is over
LAPSE_BATCH_SIZE: Final = 200
EXPIRY: Final = 5.0  # seconds between looks for messages whose time is over
EXPIRED_BATCH_SIZE: Final = 1000
BEHIND: Final = 5.0  # seconds until a name is forgotten: a bridge writes it again that comes later
GROWN_BATCH_SIZE: Final = 500
FORGOTTEN_BATCH_SIZE: Final = 200
LOOK: Final = 10.0  # seconds between looks for messages that nobody told of
INSPECT: Final = 60.0  # seconds between looks at how Redis is set up
# What operators do with one session, whether its client is here or away.
OF_SESSIONS: Final = (
    "session",
    "kick",
    "end_session",
    "subscribe",
    "unsubscribe",
    "queue",
    "purge",
    "replay",
)
SHUTDOWN_TIMEOUT: Final = 5.0  # seconds that what was recorded has at the end


class NodeSessions:
    """`ports.SessionOwnership`, and `SessionNews` for the member."""

    def __init__(
        self,
        conf: Conf,
        node: Node,
        incarnation: str,
        loop: asyncio.AbstractEventLoop,
        member: Member,
        database: DatabaseThread,
    ) -> None:
        self._node = node
        self._member = member
        self._database = database
        limits = conf.limits
        self._worker = Worker(loop)
        keys: dict[int, str] = {}
        most = QueueLimits(limits.max_queued_messages, limits.max_queued_bytes, limits.queue_full_policy)
        self._redis = RedisSessions(conf.redis.url, conf.cluster.prefix, most, self._me, keys)
        self.store = RemoteStore(self._redis, node, self._worker, keys, f"{node.name}-{incarnation}")
        self._tasks: list[asyncio.Task[None]] = []
        self._forgotten: dict[str, None] = {}  # client ids that were unregistered
        self._risks: list[str] = []
        self._full, self._full_until = "", 0.0  # why bridges cannot fill queues, and until when that holds
        node.store = self.store
        member.sessions = self

    def _me(self) -> tuple[str, str] | None:
        lease = self._member.lease
        return (lease.name, lease.incarnation) if lease.is_member else None

    # ports.SessionOwnership -------------------------------------------------------------------------------

    async def claim(self, client_id: str, clean_start: bool, will: Message | None, will_delay: int) -> int:
        with self._member.ownership.claiming(client_id):
            return await self._claim(client_id, clean_start, will, will_delay)

    async def _claim(self, client_id: str, clean_start: bool, will: Message | None, will_delay: int) -> int:
        ownership = self._member.ownership
        reason = await ownership.claim(client_id, clean_start, will, will_delay)
        if reason or client_id in self._node.sessions:
            return reason
        if client_id not in ownership.epochs:  # this node serves alone: there may be a session, or not
            return 0 if clean_start else reasons.SERVER_UNAVAILABLE
        if client_id not in ownership.kept:
            return 0
        if clean_start:
            self.store.forget(client_id)
            return 0
        return await self._resume(client_id)

    async def _resume(self, client_id: str) -> int:
        found: asyncio.Future[Stored | str | None] = asyncio.get_running_loop().create_future()

        def read() -> Stored | str | None:
            try:
                return self._redis.resume(client_id)
            except (RedisError, NotMine) as error:
                return str(error) or type(error).__name__

        self._worker.run(read, lambda answer: None if found.done() else found.set_result(answer))
        stored = await found
        if isinstance(stored, str):
            logger.warning("the session of client %r could not be read: %s", client_id, stored)
            return reasons.SERVER_UNAVAILABLE
        if stored is not None and client_id not in self._node.sessions:
            self.store.restore(stored)
        return 0

    def changed(self, client_id: str) -> None:
        session = self._node.sessions.get(client_id)
        if session is not None and session.connection is None and session.durable is not None:
            self.store.park(session.durable, False)
        self.store.after(lambda: self._member.ownership.changed(client_id))

    # Operators ------------------------------------------------------------------------------------

    def provide(self, services: NodeServices, handlers: dict[str, Handler], give: Handler) -> None:
        services.checks["sessions"] = self.status
        services.readiness["sessions"] = lambda: "" if self.status()["ok"] else "sessions cannot be stored"
        for name in OF_SESSIONS:
            handlers[name] = self.visited(handlers[name])
        handlers["replay"] = self.replayed(handlers["replay"], self.visited(give))

    def visited(self, handler: Handler) -> Handler:
        """As `handler`, also for clients that are away: their sessions come here for the while."""

        async def answer(client_id: str, **arguments: Any) -> dict[str, Any]:
            guests = [each for each in (client_id, arguments.get("to")) if each and await self._visit(each)]
            try:
                found = await _answer(handler(client_id=client_id, **arguments))
                if guests:
                    await self._stored()
                return found
            finally:
                for each in guests:
                    self.changed(each)

        return answer

    def replayed(self, here: Handler, give: Handler) -> Handler:
        """As `here`, also where the queue is that of another node's client; then `give` has its messages."""

        async def answer(
            client_id: str, to: str, limit: int = 1000, within: Sequence[str] = ()
        ) -> dict[str, Any]:
            if client_id in self._node.sessions or client_id == to:
                return await _answer(here(client_id=client_id, to=to, limit=limit, within=within))
            try:
                waiting = await asyncio.to_thread(self._redis.first, client_id, limit)
            except RedisError as error:
                raise CommandRefused("no_redis", f"The queue could not be read: {error}") from error
            if waiting is None:
                raise CommandRefused("not_here", "The client has no session that the cluster keeps.")
            return await _answer(give(client_id=to, waiting=waiting, within=within))

        return answer

    async def _visit(self, client_id: str) -> bool:
        ownership = self._member.ownership
        with ownership.claiming(client_id):
            if client_id in self._node.sessions or not await ownership.claim_idle(client_id):
                return False
            if client_id in ownership.kept:
                await self._resume(client_id)
            return True

    def forget(self, client_id: str) -> None:
        """End a session that no node has, soon; every node may be told to."""
        self._forgotten[client_id] = None

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(UPKEEP)
            while self._forgotten:
                some = list(self._forgotten)[:FORGOTTEN_BATCH_SIZE]
                for client_id in some:
                    del self._forgotten[client_id]
                visits = await asyncio.gather(*map(self._visit, some), return_exceptions=True)
                for client_id, visited in zip(some, visits, strict=True):
                    if visited is True:
                        self._node.forget(client_id, self._node.now)
                        self.changed(client_id)

    # SessionNews ----------------------------------------------------------------------------------

    def heard(self, kind: str, parts: list[Any]) -> None:
        if kind == packing.WAKE:
            self.store.woken(client_id for client_id, _ in parts[0])
            for client_id, full in parts[0]:
                if full:
                    text = "the queue of the session is full"
                    self._node.kick(client_id, reasons.QUOTA_EXCEEDED, text, self._node.now)
        elif kind == packing.FULL:
            text, seconds = parts
            if not self.is_full:
                logger.error("queues cannot be filled, publishers to them are refused: %s", text)
            self._full, self._full_until = text, time.monotonic() + seconds

    def doubt(self) -> None:
        self.store.woken(self.store.online())

    def lost(self) -> None:
        """What Redis kept of this node's sessions is gone: their clients begin anew."""
        for session in list(self._node.sessions.values()):
            if isinstance(session.durable, Remote):
                self._node.forget(session.client_id, self._node.now)

    def returned(self) -> None:
        """Its clients are connected: the failover of this node has written that they are not."""
        for session in self._node.sessions.values():
            if session.connection is not None and isinstance(session.durable, Remote):
                self.store.save(session)

    # Subscriptions --------------------------------------------------------------------------------

    async def wait_applied(self) -> bool:
        """Wait until all that was recorded is stored, and every node acts by it; False: not in time."""
        await self._stored()
        return await self._member.subscription_sync.followed(self.store.version, self.store.nodes)

    async def _stored(self) -> None:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.store.after(lambda: None if stored.done() else stored.set_result(None))
        await stored

    @property
    def is_full(self) -> bool:
        """Can nothing more be queued?"""
        return time.monotonic() < self._full_until or (self.store.full and "maxmemory" in self.store.error)

    # Upkeep ---------------------------------------------------------------------------------------

    async def start(self) -> None:
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self._lapse,
            self._expire,
            self._look,
            self._grown,
            self._forget,
            self._inspect,
            self._dropped,
        ]
        self._tasks = [asyncio.create_task(job(), name="sessions") for job in jobs]

    async def _lapse(self) -> None:
        """End sessions whose time is over while no node has them."""
        while True:
            await asyncio.sleep(UPKEEP)
            if self._me() is None:
                continue
            try:
                ended = await asyncio.to_thread(self._redis.lapse, LAPSE_BATCH_SIZE, self._node.name)
            except RedisError as error:
                logger.debug("no look for sessions that expired: %s", error)
                continue
            for client_id, queued in ended:
                self._node.stats.sessions_expired += 1
                if queued:
                    self._node.dropped(client_id, st.DROP_SESSION, "", queued)
            if ended:
                keys = [names.client_key(client_id) for client_id, _ in ended]
                try:
                    await self._database.run(writer.lapsed, keys, datetime.now(UTC))
                except DatabaseUnavailable:
                    logger.warning("%d sessions that expired stay in the directory", len(keys))

    async def _expire(self) -> None:
        """Drop messages whose time is over while their client is away; forget names that nobody needs."""
        while True:
            await asyncio.sleep(EXPIRY)
            with contextlib.suppress(RedisError):
                await asyncio.to_thread(self._redis.forget_onces, self.store.done(BEHIND))
                count = EXPIRED_BATCH_SIZE
                while count == EXPIRED_BATCH_SIZE:
                    expired = await asyncio.to_thread(self._redis.expire, EXPIRED_BATCH_SIZE)
                    count = expired.total()
                    for (client_id, reason, topic), some in expired.items():
                        self._node.dropped(client_id, reason, topic, some)

    async def _inspect(self) -> None:
        """Say so when Redis is set up to lose what it acknowledged."""
        while True:
            with contextlib.suppress(RedisError):
                risks = await asyncio.to_thread(self._redis.risks)
                if risks != self._risks:
                    for risk in risks:
                        logger.warning("Redis may lose acknowledged messages: %s", risk)
                    self._risks = risks
            await asyncio.sleep(INSPECT)

    async def _dropped(self) -> None:
        """Count what bridges dropped: every node takes what it finds."""
        while True:
            await asyncio.sleep(UPKEEP)
            with contextlib.suppress(RedisError):
                for client_id, reason, topic, count in await asyncio.to_thread(self._redis.dropped):
                    self._node.dropped(client_id, reason, topic, count)

    async def _grown(self) -> None:
        """Let the directory know what waits for clients that are away, when it knows that they are."""
        grown: list[str] = []
        while True:
            await asyncio.sleep(UPKEEP)
            with contextlib.suppress(RedisError, DatabaseUnavailable):
                if grown:
                    sizes = await asyncio.to_thread(self._redis.sizes, grown)
                    keys = map(names.client_key, grown)
                    rows = [(key, *size) for key, size in zip(keys, sizes, strict=True)]
                    await self._database.run(writer.grown, rows)
                grown = await asyncio.to_thread(self._redis.grown, GROWN_BATCH_SIZE)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                waiting = await asyncio.to_thread(self._redis.waiting, self.store.online())
            except RedisError as error:
                logger.debug("no look for messages that nobody told of: %s", error)
                continue
            self.store.woken(waiting)

    async def written(self) -> None:
        """At the end: give what was recorded its time."""
        self.store.flush()
        try:
            async with asyncio.timeout(SHUTDOWN_TIMEOUT):
                await self._stored()
        except TimeoutError:
            logger.error("the last changes of sessions are not in Redis")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.written()

    def close(self) -> None:
        self.store.close()

    def status(self) -> dict[str, Any]:
        """For health checks."""
        error = self.store.error or (self._full if self.is_full else "")
        return {"ok": not error, "error": error, "risks": self._risks}


async def _answer(found: dict[str, Any] | Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """What a handler says, at once or later."""
    return await found if inspect.isawaitable(found) else found
