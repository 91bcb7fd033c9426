"""Who has a client id: at most one node in the cluster, by a key in Redis with a fencing epoch.

What a node claims and gives back goes through one queue, in order, many at a time. A client id that another
node has is asked for: that node closes the connection, gives the id back, and says so; only then is it
claimed. So no node gets a client of a silent node before that node's failover.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from apps.cluster.coordination import peer_messages, wills
from apps.cluster.coordination.lease import Lease, State, pause
from apps.cluster.coordination.node_port import NodePort
from apps.cluster.coordination.peer_messages import PeerMessages
from apps.cluster.coordination.store import RedisUnavailable, Store
from apps.gateway.broker.messages import Message
from apps.gateway.mqtt import reasons

logger = logging.getLogger(__name__)

BATCH_SIZE: Final = 500  # claims and releases in one script
RETRY_DELAY: Final = 0.1  # seconds until Redis is asked again
ASK_RETRY_DELAY: Final = 0.5  # seconds until a client id's owner is asked again


@dataclass(slots=True, eq=False)
class _Step:
    what: str  # claim | release | will | tell
    client_id: str
    detail: str  # of a claim "1" or "0", of a tell the node; else the epoch
    will: bytes = b""
    answer: asyncio.Future[int | bytes] | None = None  # of a claim


class Ownership:
    """`ports.SessionOwnership`."""

    def __init__(
        self, lease: Lease, store: Store, view: NodePort, peers: PeerMessages, patience: float
    ) -> None:
        """`patience`: seconds that a claim may take."""
        self._lease = lease
        self._store = store
        self._view = view
        self._peers = peers
        self._patience = patience
        self.epochs: dict[str, int] = {}  # of the client ids that this node has
        self._claiming: dict[str, int] = {}
        self._willed: set[str] = set()  # client ids whose wills are in Redis
        self._unsure: set[str] = set()  # client ids whose claim may have been heard
        self._dirty: dict[str, None] = {}
        self._steps: list[_Step] = []
        self._freed: dict[str, asyncio.Future[None]] = {}  # client ids that claims wait for
        self._askers: dict[str, set[str]] = {}  # nodes that wait for client ids of this one
        self.kept: set[str] = set()  # client ids of this node whose sessions were in Redis when it got them
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # one script at a time
        self.clock_ahead = 0.0  # Redis' clock before this machine's, in seconds
        self.takeovers = 0  # clients that other nodes took from this one

    # ports.SessionOwnership -------------------------------------------------------------------------------

    async def claim(self, client_id: str, clean_start: bool, will: Message | None, will_delay: int) -> int:
        with self.claiming(client_id):
            try:
                async with asyncio.timeout(self._patience):
                    return await self._claim(client_id, clean_start, wills.pack(will, will_delay, 0.0))
            except TimeoutError:
                logger.warning("client %r could not be claimed in time: Redis or its node is away", client_id)
                return reasons.SERVER_UNAVAILABLE

    @contextlib.contextmanager
    def claiming(self, client_id: str) -> Iterator[None]:
        """Until it ends a client id is not released for want of a session, which is perhaps being read."""
        self._claiming[client_id] = self._claiming.get(client_id, 0) + 1
        try:
            yield
        finally:
            self._claiming[client_id] -= 1
            if not self._claiming[client_id]:
                del self._claiming[client_id]
            if client_id in self._dirty:
                self._wake.set()

    async def _claim(self, client_id: str, clean_start: bool, will: bytes) -> int:
        lease = self._lease
        while True:
            if lease.state is State.JOINING or (lease.state is State.MEMBER and lease.is_over):
                await lease.change(RETRY_DELAY)
                continue
            if lease.state is not State.MEMBER:
                return lease.refusal
            step = _Step("claim", client_id, "0" if clean_start else "1", will)
            step.answer = asyncio.get_running_loop().create_future()
            self._steps.append(step)
            self._wake.set()
            try:
                answer = await step.answer
            except RedisUnavailable:
                await asyncio.sleep(RETRY_DELAY)
                continue
            if isinstance(answer, int):
                return 0
            epoch, name, _ = answer.decode().split(" ")
            await self._ask(client_id, name, int(epoch), not clean_start)

    async def claim_idle(self, client_id: str) -> bool:
        """Get a client id that no node has; False: one has it, or cannot be asked."""
        if self._lease.state is not State.MEMBER:
            return False
        step = _Step("claim", client_id, "1")
        step.answer = asyncio.get_running_loop().create_future()
        with self.claiming(client_id), contextlib.suppress(RedisUnavailable, TimeoutError):
            self._steps.append(step)
            self._wake.set()
            async with asyncio.timeout(self._patience):
                return isinstance(await step.answer, int)
        return False

    async def _ask(self, client_id: str, name: str, epoch: int, resumed: bool) -> None:
        freed = self._freed.get(client_id)
        if freed is None:
            freed = self._freed[client_id] = asyncio.get_running_loop().create_future()
        self._peers.put(name, peer_messages.EVICT, (client_id, epoch, resumed))
        await pause(freed, ASK_RETRY_DELAY)
        if self._freed.get(client_id) is freed:
            del self._freed[client_id]

    def changed(self, client_id: str) -> None:
        self._note(client_id)

    def _note(self, client_id: str) -> None:
        """Look at the session when the gateway has done with it."""
        if client_id in self.epochs or client_id in self._unsure:
            self._dirty[client_id] = None
            self._wake.set()

    # What other nodes ask -------------------------------------------------------------------------

    def asked(self, name: str, items: Sequence[tuple[str, int, bool]]) -> None:
        """Another node has clients that this one has; each with the epoch that it knows of."""
        asked_for: set[str] = set()
        for client_id, epoch, resumed in items:
            mine = self.epochs.get(client_id)
            if mine == epoch:
                self.takeovers += 1
                asked_for.add(client_id)
                if self._view.has(client_id):
                    self._view.evict(client_id, resumed)  # it is noted when what became of it is stored
                else:
                    self._note(client_id)
            elif mine is None and client_id not in self._claiming:  # a trace of what this node had
                self._steps.append(_Step("release", client_id, str(epoch)))
        self._resolve()
        for client_id, _, _ in items:
            if client_id in asked_for and client_id in self.epochs:  # told when it is released
                self._askers.setdefault(client_id, set()).add(name)
            else:
                self._steps.append(_Step("tell", client_id, name))
        self._wake.set()

    def gone(self, client_ids: Iterable[str]) -> None:
        for client_id in client_ids:
            freed = self._freed.pop(client_id, None)
            if freed is not None and not freed.done():
                freed.set_result(None)

    # The queue --------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._resolve()
            while self._steps:
                if self._lease.state is not State.MEMBER:
                    self._refuse_claims()
                    await self._lease.change()
                elif not await self._take_steps():
                    await asyncio.sleep(RETRY_DELAY)
                self._resolve()

    def _resolve(self) -> None:
        """Turn what was noted into steps."""
        dirty, self._dirty = self._dirty, {}
        for client_id in dirty:
            if client_id in self._claiming:
                self._dirty[client_id] = None  # when the claim has been decided
            elif self._view.has(client_id):
                self._look_at_will(client_id)
            else:
                epoch = self.epochs.pop(client_id, None)
                self._willed.discard(client_id)
                unsure = client_id in self._unsure
                self._unsure.discard(client_id)
                self.kept.discard(client_id)
                if epoch is not None or unsure:
                    self._steps.append(_Step("release", client_id, "" if unsure else str(epoch)))
                for name in self._askers.pop(client_id, ()):
                    self._steps.append(_Step("tell", client_id, name))

    def _look_at_will(self, client_id: str) -> None:
        if client_id in self._unsure:
            self._unsure.discard(client_id)
            self._steps.append(_Step("claim", client_id, "1", self._will(client_id)))
            return
        will = self._will(client_id)
        if will or client_id in self._willed:
            self._steps.append(_Step("will", client_id, str(self.epochs[client_id]), will))

    def _will(self, client_id: str) -> bytes:
        found = self._view.will(client_id)
        if found is None:
            return b""
        message, delay, due = found
        return wills.pack(message, delay, due + self.clock_ahead if due else 0.0)

    async def _take_steps(self) -> bool:
        """False: Redis did not take them."""
        async with self._lock:
            steps, self._steps = self._steps[:BATCH_SIZE], self._steps[BATCH_SIZE:]
            real = [step for step in steps if step.what != "tell"]
            try:
                answers = await self._run(real) if real else []
            except RedisUnavailable as error:
                logger.debug("claims not heard: %s", error)
                self._give_back(steps)
                return False
            for step, answer in zip(real, answers, strict=True):
                self._taken(step, answer)
        for step in steps:
            if step.what == "tell":
                self._peers.put(step.detail, peer_messages.GONE, step.client_id)
        return True

    async def _run(self, steps: list[_Step]) -> list[Any]:
        arguments: list[str | bytes] = []
        for step in steps:
            arguments += (step.what, step.client_id, step.detail, step.will)
        incarnation = self._lease.incarnation
        answers = await self._store.run("ownership", self._lease.name, incarnation, *arguments)
        if answers == b"lost":
            self._lease.lost(incarnation)
            raise RedisUnavailable("the others took this node for dead")
        return [self._heard(step, answer) for step, answer in zip(steps, answers, strict=True)]

    def _heard(self, step: _Step, answer: Any) -> Any:
        """A claim is answered by the epoch, below 0 where there is a session in Redis."""
        if step.what != "claim" or not isinstance(answer, int):
            return answer
        if answer < 0:
            self.kept.add(step.client_id)
        else:
            self.kept.discard(step.client_id)
        return abs(answer)

    def _taken(self, step: _Step, answer: Any) -> None:
        if step.what == "claim" and isinstance(answer, int):
            self.epochs[step.client_id] = answer
        if step.will and (step.what == "will" or isinstance(answer, int)):
            self._willed.add(step.client_id)
        elif step.what != "claim" or isinstance(answer, int):
            self._willed.discard(step.client_id)
        if step.answer is not None:
            if not step.answer.done():
                step.answer.set_result(answer)
            elif isinstance(answer, int):  # nobody waits any more
                self._note(step.client_id)
        elif step.what == "claim" and isinstance(answer, bytes):
            self._view.evict(step.client_id, True)

    def _give_back(self, steps: list[_Step]) -> None:
        """What was not heard, or perhaps was: again, but for claims, whose clients decide that."""
        again: list[_Step] = []
        for step in steps:
            if step.answer is None:
                again.append(step)
                continue
            self._unsure.add(step.client_id)
            self._dirty[step.client_id] = None
            if not step.answer.done():
                step.answer.set_exception(RedisUnavailable())
        self._steps = again + self._steps

    def _refuse_claims(self) -> None:
        waiting = [step for step in self._steps if step.answer is not None]
        self._steps = [step for step in self._steps if step.answer is None]
        for step in waiting:
            if step.answer is not None and not step.answer.done():
                step.answer.set_exception(RedisUnavailable())

    # Coming back ------------------------------------------------------------------------------------

    async def reclaim(self, failed_over: bool) -> int:
        """Claim every session of this node again; how many were lost to others. Raises `RedisUnavailable`.

        `failed_over`: another node ran the failover of this one, and has published its clients' wills.
        """
        async with self._lock:
            return await self._reclaim(failed_over)

    async def _reclaim(self, failed_over: bool) -> int:
        self._steps = [step for step in self._steps if step.answer is not None]
        self._dirty.clear()
        self._unsure.clear()
        self.epochs.clear()
        self._willed.clear()
        self.kept.clear()
        lost = 0
        ids = self._view.client_ids()
        for start in range(0, len(ids), BATCH_SIZE):
            some = [each for each in ids[start : start + BATCH_SIZE] if self._view.has(each)]
            steps = [_Step("claim", each, "1", self._will(each)) for each in some]
            for step, answer in zip(steps, await self._run(steps), strict=True):
                if isinstance(answer, int):
                    self._taken(step, answer)
                    self._note(step.client_id)  # it may have left meanwhile
                    continue
                lost += 1
                if failed_over:
                    self._view.expel(step.client_id, reasons.SESSION_TAKEN_OVER, "")
                self._view.evict(step.client_id, True)
            await asyncio.sleep(0)
        return lost

    async def release_all(self) -> None:
        """The node ends: so do its sessions. Raises `RedisUnavailable`."""
        steps = [_Step("release", client_id, str(epoch)) for client_id, epoch in self.epochs.items()]
        self.epochs.clear()
        async with self._lock:
            for start in range(0, len(steps), BATCH_SIZE):
                await self._run(steps[start : start + BATCH_SIZE])
