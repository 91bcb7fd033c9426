"""Tells the other nodes what this node's clients want, and hears it of them: a `kafka_bus.Interest`.

Each node keeps its filters in Redis, under a version that each change makes one higher, and tells the others
what changed; those answer with the version that they act by. Who misses a version reads the filters again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from apps.cluster.coordination import peer_messages
from apps.cluster.coordination.lease import Lease, State
from apps.cluster.coordination.node_port import NodePort
from apps.cluster.coordination.peer_messages import PeerMessages
from apps.cluster.coordination.retained import Retained
from apps.cluster.coordination.routes import QUEUES, Change, Routes
from apps.cluster.coordination.store import RedisUnavailable, Store, pack
from apps.gateway.broker.ports import Choice

logger = logging.getLogger(__name__)

ROUTES: Final = "routes"  # news: [kind, "<name> <incarnation>", version, changes, anew, who caused them]
SESSIONS: Final = f"{QUEUES} -"  # in the place of a name and an incarnation: what persistent sessions want
BATCH_SIZE: Final = 2000  # changes in one version
TIMEOUT: Final = 1.0  # seconds that a SUBACK waits for the other nodes
RETRY_DELAY: Final = 0.1  # seconds until Redis is asked again


class _Wait:
    """Subscriptions that are announced together."""

    def __init__(self) -> None:
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.version = 0
        self.sequence = 0  # of the retained messages at that time
        self.missing: set[str] = set()  # "<name> <incarnation>" of nodes that do not act by it yet

    def finish(self, sequence: int) -> None:
        if not self.done.done():
            self.done.set_result(sequence)

    def check(self) -> bool:
        """Over?"""
        if not self.missing:
            self.finish(self.sequence)
        return not self.missing


class _Following:
    """Subscriptions of persistent sessions, by which all nodes have to act before they are acknowledged."""

    def __init__(self, version: int, missing: set[str]) -> None:
        self.version = version
        self.missing = missing  # "<name> <incarnation>"
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def forget(self, nodes: set[str]) -> None:
        """These do, or are no more."""
        self.missing -= nodes
        if not self.missing and not self.done.done():
            self.done.set_result(None)


class SubscriptionSync:
    def __init__(
        self,
        lease: Lease,
        store: Store,
        view: NodePort,
        peers: PeerMessages,
        routes: Routes,
        retained: Retained,
        patience: float,
    ) -> None:
        """`patience`: seconds after which a node that is silent is none any more."""
        self._patience = patience
        self._followed: dict[
            str, int
        ] = {}  # by "<name> <incarnation>": the version of SESSIONS that it acts by
        self._followings: list[_Following] = []
        self._lease = lease
        self._store = store
        self._view = view
        self._peers = peers
        self._routes = routes
        self._retained = retained
        self.version = 0
        self._versions: dict[str, int] = {}  # of the others, that this node acts by
        self._heard: dict[str, int] = {}  # of the others, at least
        self._applied: dict[str, int] = {}  # of ours, that the others act by
        self._next: _Wait | None = None  # what the next announcement is waited for
        self._waits: list[_Wait] = []
        self._wake = asyncio.Event()
        self._stale = asyncio.Event()
        self.late = 0  # SUBACKs that did not wait for a node

    # Interest ---------------------------------------------------------------------------------------

    @property
    def bytes(self) -> int:
        return self._routes.bytes

    def wants(self, topic: str) -> int:
        return self._routes.wants(topic)

    def choose(self, topic: str, groups: Sequence[str], qos: int) -> Choice:
        return self._routes.choose(topic, groups, qos)

    def shares(self, topic: str, qos: int, where: str) -> frozenset[str]:
        return self._routes.shares(topic, qos, where)

    def subscribed(self, filter: str, share: str) -> None:
        self._routes.subscribed(filter, share)
        self._wake.set()

    def unsubscribed(self, filter: str, share: str) -> None:
        self._routes.unsubscribed(filter, share)
        self._wake.set()

    def present(self, filter: str, share: str, here: bool, kept: bool) -> None:
        self._routes.present(filter, share, here, kept)
        self._wake.set()

    def has_unapplied(self) -> bool:
        return self._lease.state is State.MEMBER

    async def wait_applied(self) -> bool:
        """True: those who are connected can do without."""
        wait = self._next
        if wait is None:
            wait = self._next = _Wait()
        self._wake.set()
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._retained.caught_up(await asyncio.shield(wait.done))
        except TimeoutError:
            self.late += 1
            logger.debug("a SUBACK did not wait for %s", ", ".join(wait.missing) or "Redis")
        return True

    # Ours -----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._routes.has_changed or self._next is not None:
                if self._lease.state is not State.MEMBER:
                    self._forget_wait()
                    await self._lease.change()
                    continue
                try:
                    await self._announce()
                except RedisUnavailable as error:
                    logger.debug("subscriptions not announced: %s", error)
                    await asyncio.sleep(RETRY_DELAY)

    def _forget_wait(self) -> None:
        wait, self._next = self._next, None
        if wait is not None:
            wait.finish(0)

    async def _announce(self) -> None:
        wait, self._next = self._next, None
        changes = self._routes.take()
        try:
            for start in range(0, max(len(changes), 1), BATCH_SIZE):
                nodes, sequence = await self._write(changes[start : start + BATCH_SIZE], False)
        except RedisUnavailable:
            self._routes.put_back(changes)
            if wait is not None and self._next is None:
                self._next = wait
            elif wait is not None and self._next is not None:
                self._next.done.add_done_callback(lambda done: wait.finish(done.result()))
            raise
        if wait is None:
            return
        wait.version, wait.sequence = self.version, sequence
        wait.missing = {
            each for each in nodes if each != self._lease.me and self._applied.get(each, 0) < self.version
        }
        if not wait.check():
            self._waits.append(wait)

    async def announce_all(self) -> None:
        """Begin anew in Redis. Raises `RedisUnavailable`."""
        changes = self._routes.take_all()
        await self._write(changes[:BATCH_SIZE], True)
        for start in range(BATCH_SIZE, len(changes), BATCH_SIZE):
            await self._write(changes[start : start + BATCH_SIZE], False)

    async def _write(self, changes: list[Change], anew: bool) -> tuple[set[str], int]:
        """The nodes there are ("<name> <incarnation>"), and the sequence of the retained messages."""
        lease = self._lease
        version = ""
        if changes or anew:
            self.version += 1  # even where Redis does not answer: it may have heard it
            version = str(self.version)
        incarnation = lease.incarnation
        news = pack([ROUTES, lease.me, self.version, changes, anew])
        flat = [part for change in changes for part in change]
        answer = await self._store.run(
            "routes", lease.name, incarnation, "1" if anew else "0", version, news, *flat
        )
        if answer == b"lost":
            lease.lost(incarnation)
            raise RedisUnavailable("the others took this node for dead")
        names, values = answer[0][::2], answer[0][1::2]
        nodes = {
            f"{name.decode()} {value.split(b' ', 1)[0].decode()}"
            for name, value in zip(names, values, strict=True)
        }
        return nodes, answer[1]

    def applied(self, node: str, version: int) -> None:
        """A node ("<name> <incarnation>") acts by this version of ours."""
        if version <= self._applied.get(node, 0):
            return
        self._applied[node] = version
        still: list[_Wait] = []
        for wait in self._waits:
            if version >= wait.version:
                wait.missing.discard(node)
            if not wait.check():
                still.append(wait)
        self._waits = still

    # Persistent sessions' -----------------------------------------------------------------------------

    async def followed(self, version: int, nodes: frozenset[str]) -> bool:
        """Wait until these nodes act by that version of what persistent sessions want; False: not in time."""
        missing = {each for each in nodes if self._followed.get(each, 0) < version}
        if not missing:
            return True
        following = _Following(version, missing)
        self._followings.append(following)
        try:
            async with asyncio.timeout(self._patience):
                await following.done
        except TimeoutError:
            self.late += 1
            return False
        finally:
            self._followings.remove(following)
        return True

    def follows(self, node: str, version: int) -> None:
        """A node ("<name> <incarnation>") acts by this version."""
        self._followed[node] = max(self._followed.get(node, 0), version)
        for following in self._followings:
            if version >= following.version:
                following.forget({node})

    def _follow_sessions(self, version: int, cause: str) -> None:
        self.follows(self._lease.me, version)
        names = {cause} if cause else {_name(node) for node in self._versions}
        for name in names - {self._lease.name, QUEUES}:
            self._peers.put(name, peer_messages.FOLLOWED, (self._lease.me, version))

    # Theirs -----------------------------------------------------------------------------------------

    def heard(self, node: str, version: int, changes: list[Change], anew: bool, cause: str = "") -> None:
        """Another node's news, or of what persistent sessions want: `cause` is the node that changed it."""
        if node == self._lease.me:
            return
        self._heard[node] = max(self._heard.get(node, 0), version)
        known = self._versions.get(node)
        if known is not None and version == known + 1 and not anew:
            self._outdate(self._routes.apply(_name(node), changes))
            self._act_by(node, version, cause)
        elif known is None or version > known:
            self._stale.set()

    def _act_by(self, node: str, version: int, cause: str = "") -> None:
        self._versions[node] = version
        if node == SESSIONS:
            self._follow_sessions(version, cause)
            return
        self._peers.put(_name(node), peer_messages.APPLIED, (self._lease.me, version))

    def _outdate(self, filters: set[str]) -> None:
        for filter in filters:
            self._view.changed(filter)

    def see(self, nodes: dict[str, int]) -> None:
        """The other nodes ("<name> <incarnation>") with the versions that they had announced by then."""
        for node in [node for node in self._versions if node not in nodes]:
            self.left(node)
        for node, version in nodes.items():
            self._heard[node] = max(self._heard.get(node, 0), version)
            if self._versions.get(node, -1) < self._heard[node]:
                self._stale.set()
        there = {*nodes, self._lease.me}
        for node in [node for node in self._followed if node not in there]:
            del self._followed[node]
        for following in self._followings:
            following.forget(following.missing - there)

    def left(self, node: str) -> None:
        """The node is no more."""
        self._heard.pop(node, None)
        self._applied.pop(node, None)
        if self._versions.pop(node, None) is not None and _name(node) not in map(_name, self._versions):
            self._outdate(self._routes.drop(_name(node)))
        for wait in self._waits:
            wait.missing.discard(node)
        for following in self._followings:
            following.forget({node})
        self._waits = [wait for wait in self._waits if not wait.check()]

    def doubt(self) -> None:
        """News may have been missed: read everything again."""
        for node in self._versions:
            self._versions[node] = -1
        self._stale.set()

    async def read(self) -> None:
        """What is stale, until nothing is. Raises `RedisUnavailable`."""
        for node in list(self._heard):
            while node in self._heard and self._versions.get(node, -1) < self._heard[node]:
                table: dict[str, Any] = {
                    name.decode(): value.decode()
                    for name, value in (await self._store.table(f"{ROUTES}:{node}")).items()
                }
                version = int(table.pop("", 0))
                if node not in self._heard:
                    break
                self._outdate(self._routes.replace(_name(node), table))
                self._act_by(node, version)
                if version < self._heard[node]:  # it has not written them yet, or has begun anew
                    self._heard[node] = version

    async def follow(self) -> None:
        """Read what turns out to be stale, for ever."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self.read()
            except RedisUnavailable:
                self._stale.set()
                await asyncio.sleep(RETRY_DELAY)


def _name(node: str) -> str:
    return node.partition(" ")[0]
