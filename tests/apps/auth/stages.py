"""A chain with its `Live`, and a node that notes what is done with its clients."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from apps.auth.live import Live
from apps.auth.models import Client
from apps.auth.providers.chain import Chain
from apps.auth.records import Records
from apps.gateway.broker.ports import PUBLISH_ALL, Acl, Peer
from tests.apps.auth.chains import PEER, connect, register


class Node:
    """A `NodeControl`: who is here, and what was done with them."""

    def __init__(self) -> None:
        self.here: dict[str, tuple[str | None, Peer]] = {}
        self.acls: dict[str, Acl] = {}
        self.open: dict[str, dict[str, int]] = {}  # filters that somebody has to be asked about
        self.asked: dict[str, dict[str, int] | None] = {}
        self.kicked: list[tuple[str, int]] = []
        self.forgotten: list[str] = []

    def online(self) -> Iterable[tuple[str, str | None, Peer]]:
        return [(client_id, *who) for client_id, who in self.here.items()]

    def connected(self, client_id: str) -> tuple[str | None, Peer] | None:
        return self.here.get(client_id)

    def absent(self, client_ids: Iterable[str] | None) -> list[str]:
        return []

    async def review_absent(self, client_id: str, acl: Acl) -> None: ...

    async def undecided(self, client_id: str, acl: Acl) -> dict[str, int]:
        return self.open.get(client_id, {})

    def set_acl(self, client_id: str, acl: Acl, asked: dict[str, int] | None = None) -> None:
        self.asked[client_id] = asked
        self.acls[client_id] = acl

    def kick(self, client_id: str, reason: int, text: str) -> None:
        if self.here.pop(client_id, None) is not None:
            self.kicked.append((client_id, reason))

    def forget(self, client_id: str) -> None:
        self.forgotten.append(client_id)

    async def enter(
        self, chain: Chain, client_id: str, username: str, secret: str, peer: Peer = PEER
    ) -> None:
        verdict = await chain.connect(connect(client_id, username, secret, peer))
        assert verdict.acl is not None
        self.here[client_id] = (verdict.username, peer)
        self.acls[client_id] = verdict.acl


class Stage:
    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.node = Node()
        self.records = Records(chain.parts.database, 100, "node-1", lambda *_: None)
        self.live = Live(chain, self.node, self.records)

    async def alice(self) -> Client:
        client, secret = await sync_to_async(register)()
        await self.node.enter(self.chain, "alice-1", "alice", secret)
        return client

    async def bob(self) -> Client:
        client, secret = await sync_to_async(register)("bob-1", "bob")
        await self.node.enter(self.chain, "bob-1", "bob", secret, Peer("198.51.100.7", 1, "tcp"))
        return client

    def may(self, client_id: str = "alice-1", topic: str = "a") -> bool:
        return self.node.acls[client_id].publish(topic) == PUBLISH_ALL


@asynccontextmanager
async def staged(chain: Chain) -> AsyncIterator[Stage]:
    await get_channel_layer().flush()
    stage = Stage(chain)
    await stage.live.start()
    await asyncio.sleep(0)
    try:
        yield stage
    finally:
        await stage.live.stop()


async def within_a_second(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 1.0
    while not holds():
        assert time.monotonic() < end, "not within a second"
        await asyncio.sleep(0.01)
