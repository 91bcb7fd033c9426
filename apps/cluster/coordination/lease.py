"""What this node may do as a member of the cluster: a lease that its heartbeats renew."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from apps.gateway.mqtt import reasons


class State(StrEnum):
    JOINING = "joining"  # not a member yet, or about to be one again
    MEMBER = "member"
    ALONE = "alone"  # Redis is away: the node serves its own clients, and asks nobody
    FENCED = "fenced"  # Redis is away: the node serves nobody


class Lease:
    """The lease ends before the others may take the node for dead, counted from when a heartbeat was sent."""

    def __init__(self, name: str, fence: bool, lease: float, clock: Callable[[], float]) -> None:
        """`fence`: what to be without a lease, FENCED or ALONE. `lease` in seconds of `clock`."""
        self.name = name
        self.incarnation = ""  # of the current membership; "": there was none yet
        self.state = State.JOINING
        self.trouble = ""  # why Redis is taken to be away
        self._without = State.FENCED if fence else State.ALONE
        self._lease = lease
        self._clock = clock
        self._until = clock() + lease
        self._changed: asyncio.Future[None] | None = None

    @property
    def me(self) -> str:
        """As this node is called in Redis."""
        return f"{self.name} {self.incarnation}"

    @property
    def is_member(self) -> bool:
        return self.state is State.MEMBER and not self.is_over

    @property
    def is_over(self) -> bool:
        """Has the lease ended?"""
        return self._clock() >= self._until

    @property
    def refusal(self) -> int:
        """Why a client cannot be let in for want of a lease; 0: it can."""
        return 0 if self._without is State.ALONE else reasons.SERVER_UNAVAILABLE

    def new_incarnation(self) -> str:
        self.incarnation = secrets.token_hex(8)
        return self.incarnation

    def renew(self, sent: float) -> None:
        """A heartbeat sent at `sent` was taken."""
        self._until = sent + self._lease

    def become(self, state: State) -> None:
        self.state = state
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(None)

    def lost(self, incarnation: str) -> None:
        """The others took `incarnation` for dead, or Redis forgot it: it has to join again."""
        if incarnation == self.incarnation and self.state is State.MEMBER:
            self.become(State.JOINING)

    def end(self) -> State:
        """The lease is over: what this node is now, by its policy."""
        self.become(self._without)
        return self.state

    async def change(self, most: float = 1.0) -> None:
        """Wait until the state is another one, `most` seconds at most."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await pause(self._changed, most)


async def pause(until: asyncio.Future[None], most: float) -> None:
    """Wait, `most` seconds at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(most):
            await asyncio.shield(until)
