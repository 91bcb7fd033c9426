"""The dashboard's live feed, a WebSocket: one sample a second, made once for all who look."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.contrib.auth import get_user_model

from apps.common import node_services
from apps.console import health
from apps.console.sampler import Sampler

MAX_VIEWERS: Final = 200  # of one process
FORBIDDEN: Final = 4403  # WebSocket close codes
TOO_MANY: Final = 4429
RECHECK: Final = 30.0  # seconds after which it is asked again whether the viewer may still look


class DashboardFeed(AsyncJsonWebsocketConsumer):
    """For staff who may see the dashboard; a viewer that reads too slowly misses samples."""

    _running: Sampler | None = None
    _sender: asyncio.Task[None] | None = None
    _next: dict[str, Any] | None = None

    async def connect(self) -> None:
        running = node_services.find(Sampler)
        if running is None or not await self._may():
            await self.close(FORBIDDEN)
            return
        if len(running.viewers) >= MAX_VIEWERS:
            await self.close(TOO_MANY)
            return
        await self.accept()
        self._running = running
        self._more = asyncio.Event()
        running.viewers.add(self._take)
        if running.latest:
            self._take(running.latest)
        self._sender = asyncio.create_task(self._send())

    @database_sync_to_async
    def _may(self) -> bool:
        """Asked of the database each time: rights may have been taken away."""
        user = self.scope.get("user")
        if user is None or not user.pk:
            return False
        fresh = get_user_model()._default_manager.filter(pk=user.pk, is_active=True, is_staff=True).first()
        return fresh is not None and fresh.has_perm("console.view_sample")

    def _take(self, sample: dict[str, Any]) -> None:
        self._next = sample
        self._more.set()

    async def _send(self) -> None:
        checked = asyncio.get_running_loop().time()
        while True:
            await self._more.wait()
            self._more.clear()
            now = asyncio.get_running_loop().time()
            if now - checked > RECHECK:
                checked = now
                if not await self._may():
                    await self.close(FORBIDDEN)
                    return
            await self.send_json({**(self._next or {}), "health": health.for_operators()})

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Viewers have nothing to say."""

    async def disconnect(self, code: int) -> None:
        if self._running is not None:
            self._running.viewers.discard(self._take)
        if self._sender is not None:
            self._sender.cancel()
