"""A node with its clients, without sockets, loop or clock: the test is all three.

`World.turn` is what the event loop does between two waits: decide what is pending (by the real
`settle`), then flush. `advance` is the time going by.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from apps.gateway.broker.limits import Limits
from apps.gateway.broker.node import Node
from apps.gateway.broker.ports import ConnectRequest, Peer
from apps.gateway.broker.timers import HORIZON
from apps.gateway.net.decisions import decide
from tests.apps.gateway.support import audit
from tests.apps.gateway.support.client import Client
from tests.apps.gateway.support.doors import Door
from tests.apps.gateway.support.link import FakeLink

START = 1_700_000_000.25
TICK = 0.5


class Events:
    """An `Observer` that remembers."""

    def __init__(self) -> None:
        self.connects: list[str] = []
        self.ends: list[tuple[str, int, str]] = []
        self.changes: list[str] = []
        self.refusals: list[tuple[str, int, str]] = []
        self.denials: list[tuple[str, str, str]] = []
        self.drops: list[tuple[str, str, str, int]] = []

    def connected(self, client_id: str, username: str | None, peer: Peer, level: int) -> None:
        self.connects.append(client_id)

    def disconnected(self, client_id: str, reason: int, text: str) -> None:
        self.ends.append((client_id, reason, text))

    def refused(self, request: ConnectRequest, reason: int, text: str) -> None:
        self.refusals.append((request.client_id, reason, text))

    def changed(self, client_id: str) -> None:
        self.changes.append(client_id)

    def denied(self, client_id: str, username: str | None, peer: Peer, action: str, topic: str) -> None:
        self.denials.append((client_id, action, topic))

    def dropped(self, client_id: str, reason: str, topic: str, count: int) -> None:
        self.drops.append((client_id, reason, topic, count))


class World:
    def __init__(self, limits: Limits | None = None, door: Door | None = None, sys: float = 0.0) -> None:
        """`sys`: seconds between $SYS publications, 0 = none."""
        self.now = START
        self.door = door or Door()
        self.events = Events()
        self.limits = limits or Limits()
        self.clients: list[Client] = []
        self._assigned = 0
        self._awake = False
        self._controls: list[FakeLink] = []
        self._waiting: dict[FakeLink, Coroutine[Any, Any, None]] = {}
        self.node = Node(
            "test", "1.0", self.limits, self.events, self._wake, self._assign, self.now, sys_interval=sys
        )

    def _wake(self) -> None:
        self._awake = True

    def _assign(self) -> str:
        self._assigned += 1
        return f"assigned-{self._assigned}"

    def link(self) -> FakeLink:
        return FakeLink(self._controls.append)

    def clock(self) -> float:
        return self.now

    # The loop ---------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Until nothing is left to do: decide what is pending, flush."""
        while self._controls or self._awake:
            while self._controls:
                link = self._controls.pop(0)
                if link not in self._waiting and link.connection is not None:
                    self._step(link, decide(link.connection, self.door, self.clock))
            if self._awake:
                self._awake = False
                self.node.flush()

    def _step(self, link: FakeLink, task: Coroutine[Any, Any, None]) -> None:
        try:
            while task.send(None) is None:  # it leaves the loop turn to others: there are none
                pass
        except StopIteration:
            self._waiting.pop(link, None)
        else:
            self._waiting[link] = task

    @property
    def questions(self) -> int:
        """Decisions that wait for `answer`."""
        return len(self._waiting)

    def answer(self) -> None:
        """What was asked elsewhere is answered, once for each connection."""
        for link, task in list(self._waiting.items()):
            self._step(link, task)
        self.turn()

    def advance(self, seconds: float, step: float = TICK) -> None:
        """Time goes by; the node ticks every `step` seconds."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + step, end)
            self.node.tick(self.now)
            self.turn()

    @property
    def held(self) -> int:
        """`node.stats.held` without the routes that clients have caused."""
        return self.node.stats.held - audit.routes_held(self.node)

    # Clients ----------------------------------------------------------------------------------------

    def dial(self, level: int = 5) -> Client:
        """A transport without a CONNECT."""
        client = Client(self, level)
        self.clients.append(client)
        return client

    def join(self, client_id: str = "", level: int = 5, **options: Any) -> Client:
        """A client that is connected; `options` as for `Client.connect`."""
        client = self.dial(level)
        client.connect(client_id, **options)
        assert client.connack is not None and client.connack.reason == 0, client.connack
        return client

    def close(self) -> None:
        """Everybody leaves, every session ends; then nothing may be left of them."""
        audit.check(self.node, self.clients)
        for client in self.clients:
            client.drop()
        for task in self._waiting.values():
            task.close()
        for session in list(self.node.sessions.values()):
            self.node.end_session(session, self.now)
        self.turn()
        self.advance(HORIZON + 2, step=1.0)
        stats = self.node.stats
        gauges = {name: getattr(stats, name) for name in ("held", "inbound", "queued", "connections")}
        assert gauges == dict.fromkeys(gauges, 0)
        assert not self.node.sessions
        assert (self.node.router.trie.count, self.node.router.trie.shared_count) == (0, 0)
        assert stats.connects == stats.disconnects == len(self.events.connects) == len(self.events.ends)
        assert stats.drops == self._drops()

    def _drops(self) -> dict[str, int]:
        """What the observer heard, in the form of `Stats.drops`."""
        total = dict.fromkeys(self.node.stats.drops, 0)
        for _, reason, _, count in self.events.drops:
            total[reason] += count
        return total
