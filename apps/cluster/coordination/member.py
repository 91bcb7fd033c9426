"""This node as a member of its cluster: joins, heartbeats, listens, and leaves.

A node joins with an incarnation of its own making. While its heartbeats are heard it holds a lease. The
others start its failover when they have seen none for `dead_after`, which is later than the lease's end. So
a node that fences itself has closed its connections before another node owns their client ids. A node that
serves on alone may have clients that other nodes have, too; when it is back, the other nodes keep them.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from redis.exceptions import RedisError

from apps.cluster.coordination import peer_messages, versions
from apps.cluster.coordination.failover import LEFT, Failovers
from apps.cluster.coordination.failure_detector import FailureDetector, Heartbeat
from apps.cluster.coordination.lease import Lease, State
from apps.cluster.coordination.node_port import NodePort
from apps.cluster.coordination.ownership import Ownership
from apps.cluster.coordination.peer_messages import PeerMessages
from apps.cluster.coordination.retained import RETAINED, Retained
from apps.cluster.coordination.routes import Routes
from apps.cluster.coordination.store import RedisUnavailable, Store, pack, unpack
from apps.cluster.coordination.subscription_sync import ROUTES, SESSIONS, SubscriptionSync
from apps.cluster.coordination.sys_topics import ClusterSysTopics
from apps.cluster.coordination.versions import Incompatible
from apps.common.signed import Reader
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import reasons

logger = logging.getLogger("gmqtt.cluster")

ECHO: Final = "echo"  # news of this node to itself
LEASE: Final = 0.6  # of `dead_after`; the rest is for letting go of the clients
TIMEOUT: Final = 2.0  # seconds above `dead_after` that a CONNECT waits for a node that may be dead
DEAF: Final = 4  # heartbeats without news until the connection for them is made again
EXPIRE_EVERY: Final = 10  # heartbeats
FENCE_BATCH_SIZE: Final = 200  # clients


class SessionNews(Protocol):
    """Sessions that the cluster keeps, of clients that are connected to this node."""

    def heard(self, kind: str, parts: list[Any]) -> None:
        """News of bridges."""

    def doubt(self) -> None:
        """News may have been missed."""

    def lost(self) -> None:
        """Redis has lost what it kept."""

    def returned(self) -> None:
        """This node is a member again, whatever the others took it for meanwhile."""


class NameTaken(Exception):
    """Another process runs under this node's name."""


class Member:
    """`start` before the node listens; `stop` when its clients are gone."""

    def __init__(
        self,
        name: str,
        url: str,
        prefix: str,
        heartbeat: float,
        dead_after: float,
        fence: bool,
        view: NodePort,
        describe: Callable[[], dict[str, Any]],
        record_death: Callable[[str], Awaitable[None]],
        fail: Callable[[Exception], None],
        sys_interval: float,
    ) -> None:
        """`describe`: what the others are told, small and quick. `fail`: the node must end.

        `sys_interval`: seconds between figures below $SYS, 0 = none.
        """
        self._name = name
        self._heartbeat = heartbeat
        self._dead_after = dead_after
        self._view = view
        self._describe = describe
        self._fail = fail
        self._signed = Reader(peer_messages.purpose(name), timed=False)
        self.store = Store(url, prefix, max(heartbeat, 1.0))
        self.lease = Lease(name, fence, dead_after * LEASE, time.monotonic)
        self._peers = PeerMessages(name, self.store)
        self._failure_detector = FailureDetector(name, dead_after, dead_after / 2)
        self.routes = Routes(name)
        self.retained = Retained(self.lease, self.store, view)
        self.subscription_sync = SubscriptionSync(
            self.lease, self.store, view, self._peers, self.routes, self.retained, dead_after + TIMEOUT
        )
        self.ownership = Ownership(self.lease, self.store, view, self._peers, dead_after + TIMEOUT)
        self.failovers = Failovers(self.lease, self.store, view, record_death, self._redis_now)
        self._figures = ClusterSysTopics(view)
        self._sys_interval = sys_interval
        self._sys_next = 0.0
        self._count = 0
        self._cluster = ""  # its id
        self._run_id = ""  # of the Redis process
        self._clock_ahead = 0.0
        self._heard_at = 0.0  # when the last news came
        self._failures = 0  # heartbeats in a row
        self._listener: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self._fencing: asyncio.Task[None] | None = None
        self._fenced_wills: list[Message] = []
        self.nodes: dict[str, dict[str, Any]] = {}  # what each says of itself
        self.sessions: SessionNews | None = None  # set before `start` where the cluster keeps sessions
        self._tasks: list[asyncio.Task[None]] = []
        self._lease_end: asyncio.TimerHandle | None = None

    @property
    def redis_ahead(self) -> float | None:
        """Seconds by which Redis' clock was ahead of ours at the last heartbeat; None: not a member."""
        return self._clock_ahead if self.lease.state is State.MEMBER else None

    def _redis_now(self) -> float:
        return self._view.now() + self._clock_ahead

    # Life -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join, if Redis answers. Raises `NameTaken`, `Incompatible`."""
        first = asyncio.Event()
        self._tasks = [
            asyncio.create_task(part, name="cluster")
            for part in (
                self._live(first),
                self.ownership.run(),
                self.subscription_sync.run(),
                self.subscription_sync.follow(),
                self.retained.run(),
                self.retained.follow(),
            )
        ]
        joined = asyncio.create_task(first.wait())
        await asyncio.wait([joined, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        joined.cancel()
        for task in self._tasks:
            if task.done():
                await self._cancel()
                task.result()

    async def stop(self) -> None:
        if self.lease.state is State.MEMBER:
            try:
                await self.retained.drain(self._heartbeat)
                await self.ownership.release_all()
                left = pack([LEFT, self.lease.me])
                await self.store.run("leave", self._name, self.lease.incarnation, left)
            except RedisUnavailable as error:
                logger.warning("this node could not say goodbye to the cluster: %s", error)
        await self._cancel()
        await self.failovers.stop()
        await self._peers.stop()
        await self.store.close()

    async def _cancel(self) -> None:
        if self._lease_end is not None:
            self._lease_end.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _live(self, first: asyncio.Event) -> None:
        """Join, send heartbeats, join again if needed. Sets `first` when the first try worked or failed."""
        try:
            while True:
                began = time.monotonic()
                try:
                    await self._turn(first)
                    self._failures = 0
                except RedisUnavailable as error:
                    self._failures += 1
                    self._without_redis(str(error))
                    if self.lease.is_over:
                        await self._end_lease()
                        first.set()
                except (NameTaken, Incompatible) as taken:
                    if not first.is_set():
                        raise
                    self._fail(taken)
                    return
                except Exception:
                    logger.exception("a heartbeat failed")
                if self._is_deaf():
                    await _end(self._listener)
                    self._listener = None
                await asyncio.sleep(max(self._heartbeat - (time.monotonic() - began), 0.05))
        finally:
            await _end(self._entering)
            await _end(self._listener)

    async def _turn(self, first: asyncio.Event) -> None:
        """One heartbeat and what it needs. Raises `RedisUnavailable`, `NameTaken`."""
        if self.lease.state is not State.MEMBER and not await self._is_still_member():
            await _end(self._entering)
            await self._join()
        if self._listener is None or self._listener.done():
            self._listener = await self._listen()
        await self._send_heartbeat()
        if self.lease.state is State.MEMBER:
            first.set()
        elif self._entering is None or self._entering.done():
            self._entering = asyncio.create_task(self._enter(first), name="cluster entrance")

    def _is_deaf(self) -> bool:
        """Each heartbeat is a piece of news to this node itself, too."""
        return self._failures > 1 or time.monotonic() - self._heard_at > DEAF * self._heartbeat

    def _without_redis(self, why: str) -> None:
        if not self.lease.trouble:
            logger.warning("Redis is away: %s", why)
        self.lease.trouble = why

    # Joining --------------------------------------------------------------------------------------

    async def _is_still_member(self) -> bool:
        """After a while without Redis: do the others think so, too?"""
        if not self.lease.incarnation:
            return False
        found = (await self.store.table("nodes")).get(self._name.encode())
        cluster = await self.store.text("cluster")
        return (
            found is not None and _incarnation(found) == self.lease.incarnation and cluster == self._cluster
        )

    async def _join(self) -> None:
        """Take the name in the cluster, also from an incarnation that has failed. Raises `NameTaken`."""
        await self._check_versions()
        was_member = bool(self.lease.incarnation)
        self.lease.become(State.JOINING)
        self.lease.new_incarnation()
        end = time.monotonic() + self._dead_after + self._heartbeat
        seen: bytes | None = None
        while True:
            said = json.dumps(self._say())
            fresh_id = secrets.token_hex(8)
            answer = await self.store.run("join", self._name, self.lease.incarnation, said, fresh_id)
            if answer[0] == b"ok":
                break
            if answer[0] == b"taken":
                incarnation, count, _ = answer[1].decode().split(" ", 2)
                heartbeat = f"{incarnation} {count}".encode()
                if seen is not None and heartbeat != seen:
                    raise NameTaken(self._name)
                if seen is None:
                    logger.info("waiting whether another process is node %s, too", self._name)
                    end = time.monotonic() + self._dead_after
                seen = heartbeat
                if time.monotonic() >= end:
                    me = f"{self._name} {incarnation}"
                    await self.store.run(
                        "begin_failover", self._name, incarnation, count, me, pack([LEFT, me])
                    )
            elif time.monotonic() >= end + self._dead_after:
                logger.warning("what node %s left behind is not cleared away yet", self._name)
                raise RedisUnavailable("the failover of this node's last incarnation is under way")
            await asyncio.sleep(min(self._heartbeat / 4, 0.25))
        cluster = answer[1].decode()
        self._failed_over = was_member and cluster == self._cluster
        self._lost_data = was_member and cluster != self._cluster
        self._cluster = cluster

    async def _check_versions(self) -> None:
        """Raises `Incompatible`: nothing was written that another version could misunderstand."""
        versions.check_format(await self.store.settle(versions.FORMAT_KEY, str(versions.FORMAT)))
        found = await self.store.table("nodes")
        said = {name.decode(): json.loads(value.decode().split(" ", 2)[2]) for name, value in found.items()}
        versions.check_members({name: each for name, each in said.items() if name != self._name})

    _failed_over = False
    _lost_data = False

    async def _enter(self, first: asyncio.Event) -> None:
        """Bring what this node has and what the cluster has together, then act for the cluster.

        It may take longer than a heartbeat, so those go on meanwhile.
        """
        try:
            await self._merge()
        except RedisUnavailable as error:
            logger.debug("not a member yet: %s", error)
            return
        except Exception:
            logger.exception("this node could not enter the cluster; trying again")
            return
        self._failed_over = self._lost_data = False
        self.lease.become(State.MEMBER)
        first.set()
        logger.info("node %s is a member of the cluster, with %d others", self._name, len(self.nodes) - 1)

    async def _merge(self) -> None:
        if self._lost_data:
            logger.warning("Redis has lost what the cluster kept there: this node writes its part again")
            await self.retained.restore()
            self.subscription_sync.left(SESSIONS)
            if self.sessions is not None:
                self.sessions.lost()
        if self._fenced_wills and not self._failed_over:  # nobody else has published them
            await self._view.publish(self._fenced_wills)
        self._fenced_wills = []
        lost = await self.ownership.reclaim(self._failed_over)
        if lost:
            logger.warning("%d clients of this node have connected to others meanwhile", lost)
        await self.subscription_sync.announce_all()
        self.subscription_sync.doubt()
        await self.subscription_sync.read()
        await self.retained.read()
        if self.sessions is not None:
            self.sessions.returned()

    # Heartbeats -----------------------------------------------------------------------------------

    def _say(self) -> dict[str, Any]:
        routes = self.subscription_sync.version
        return {**self._describe(), "routes": routes, "protocol": versions.PROTOCOL}

    async def _send_heartbeat(self) -> None:
        sent = time.monotonic()
        self._count += 1
        said = f"{self._count} {json.dumps(self._say())}"
        echo = pack([ECHO, self._name])
        answer = await self.store.run("heartbeat", self._name, self.lease.incarnation, said, echo)
        member, cluster, seconds, micros, nodes, failovers, sequence, sessions = answer
        if not member or cluster.decode() != self._cluster:
            self.lease.lost(self.lease.incarnation)
            raise RedisUnavailable("this node is not in the cluster any more")
        self.lease.renew(sent)
        self.lease.trouble = ""
        self._watch_lease()
        self._clock_ahead = int(seconds) + int(micros) / 1e6 - self._view.now()
        self.ownership.clock_ahead = self.retained.clock_ahead = self._clock_ahead
        await self._look(_pairs(nodes), _pairs(failovers), sessions)
        self.retained.see(sequence)
        if self._count % EXPIRE_EVERY == 0:
            await self.store.run("expire", 1000)

    async def _look(self, nodes: dict[str, str], failovers: dict[str, str], sessions: int) -> None:
        """At the others, and how often what persistent sessions want has changed."""
        heartbeats: dict[str, Heartbeat] = {}
        routes: dict[str, int] = {SESSIONS: sessions}
        said: dict[str, dict[str, Any]] = {}
        for name, value in nodes.items():
            incarnation, count, text = value.split(" ", 2)
            heartbeats[name] = Heartbeat(incarnation, int(count))
            said[name] = json.loads(text)
            if name != self._name:
                routes[f"{name} {incarnation}"] = said[name]["routes"]
        self.nodes = said
        self.subscription_sync.see(routes)
        if self._sys_interval and time.monotonic() >= self._sys_next:
            self._sys_next = time.monotonic() + self._sys_interval
            self._figures.show(said)
        for name, heartbeat in self._failure_detector.look(time.monotonic(), heartbeats).items():
            await self.failovers.start(name, heartbeat)
        await self.failovers.adopt(
            failovers, {f"{name} {heartbeat.incarnation}" for name, heartbeat in heartbeats.items()}
        )

    # The lease ------------------------------------------------------------------------------------

    def _watch_lease(self) -> None:
        if self._lease_end is not None:
            self._lease_end.cancel()
        loop = asyncio.get_running_loop()
        self._lease_end = loop.call_later(self._dead_after * LEASE, self._lease_ended)

    def _lease_ended(self) -> None:
        if self.lease.is_over and self.lease.state in (State.MEMBER, State.JOINING):
            self._fencing = asyncio.get_running_loop().create_task(self._end_lease())

    async def _end_lease(self) -> None:
        if self.lease.state not in (State.MEMBER, State.JOINING):
            return
        if self._entering is not None:
            self._entering.cancel()
        state = self.lease.end()
        logger.error("no word from Redis for %.1f s: this node is %s", self._dead_after * LEASE, state)
        if state is State.FENCED:
            await self._fence()

    async def _fence(self) -> None:
        """Let go of every client. Their wills are the survivors' business, or this node's when it is back."""
        text = "the node has lost its cluster"
        for index, client_id in enumerate(self._view.client_ids()):
            will = self._view.expel(client_id, reasons.SERVER_SHUTTING_DOWN, text)
            if will is not None:
                self._fenced_wills.append(will)
            if index % FENCE_BATCH_SIZE == FENCE_BATCH_SIZE - 1:
                await asyncio.sleep(0)

    # Listening ------------------------------------------------------------------------------------

    async def _listen(self) -> asyncio.Task[None]:
        """Subscribe to the news. Whatever came before is read. Raises `RedisUnavailable`."""
        run_id = await self.store.run_id()
        if self._run_id and run_id != self._run_id and self.lease.state is State.MEMBER:
            self.lease.become(State.JOINING)  # what the old one had not written to its disk is lost
        self._run_id = run_id
        pubsub = await self.store.listen("news", f"to:{self._name}")
        self._heard_at = time.monotonic()
        self.subscription_sync.doubt()
        self.retained.doubt()
        if self.sessions is not None:
            self.sessions.doubt()

        async def follow() -> None:
            try:
                async for message in pubsub.listen():
                    self._heard(unpack(message["data"]))
            except (RedisError, OSError) as error:
                logger.debug("the news have ended: %s", error)
            except Exception:
                logger.exception("news that could not be taken in")
            finally:
                await pubsub.aclose()  # type: ignore[no-untyped-call]

        return asyncio.create_task(follow(), name="cluster news")

    def _heard(self, news: list[Any]) -> None:
        self._heard_at = time.monotonic()
        kind, sender = news[0], news[1]
        if kind == peer_messages.SIGNED:
            opened = self._signed.open(news[2])
            if opened is not None:
                self._told(opened["message"])
            return
        if kind == ROUTES:
            self.subscription_sync.heard(sender, *news[2:])
        elif kind == RETAINED:
            self.retained.heard(sender, *news[2:])
        elif kind == LEFT:
            self.subscription_sync.left(sender)
        elif self.sessions is not None:
            self.sessions.heard(kind, news[2:])

    def _told(self, message: list[Any]) -> None:
        """By another node, and by nobody else."""
        kind, sender, items = message
        if kind == peer_messages.EVICT:
            self.ownership.asked(sender, items)
        elif kind == peer_messages.GONE:
            self.ownership.gone(items)
        elif kind == peer_messages.APPLIED:
            for node, version in items:
                self.subscription_sync.applied(node, version)
        elif kind == peer_messages.FOLLOWED:
            for node, version in items:
                self.subscription_sync.follows(node, version)

    # Seen from outside ----------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        lease = self.lease
        return {
            "ok": lease.state is State.MEMBER and not lease.is_over,
            "state": lease.state,
            "trouble": lease.trouble,
            "nodes": sorted(self.nodes),
            "takeovers": self.ownership.takeovers,
            "late_subacks": self.subscription_sync.late,
            "buried": self.failovers.count,
            "wills_published": self.failovers.wills,
            "retained": self.retained.status(),
        }


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _incarnation(value: bytes) -> str:
    return value.split(b" ", 1)[0].decode()


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
