"""Where the instances of the auth service are. Each provider has its folder, with a `build`.

A provider's methods block, so they run in a thread, one at a time. They raise `DiscoveryUnavailable` when the
directory does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Protocol

from apps.auth.discovery.base import DiscoveryUnavailable
from gmqtt_platform.config import providers

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import DiscoveryConf

logger = logging.getLogger(__name__)


class Directory(Protocol):
    def instances(self) -> set[str]:
        """The "host:port" of every instance that is registered and alive."""

    def register(self, address: str) -> None:
        """Enter "host:port" for as long as `renew` is called within the configured seconds."""

    def renew(self) -> None:
        """Stay entered; enter again, where the directory lost us."""

    def withdraw(self) -> None:
        """Leave at once."""


def build(conf: DiscoveryConf) -> Directory:
    found: Directory = providers.find("auth.discovery.provider", conf.provider).load()(conf)
    return found


class Membership:
    """Keeps one instance entered between `join` and `leave`, through every outage of the directory."""

    def __init__(self, directory: Directory, ttl: float) -> None:
        self._directory = directory
        self._every = ttl / 3
        self._task: asyncio.Task[None] | None = None

    async def join(self, address: str) -> None:
        """Raises `DiscoveryUnavailable`: better not to start than to serve where nobody looks."""
        await asyncio.to_thread(self._directory.register, address)
        self._task = asyncio.create_task(self._stay())

    async def _stay(self) -> None:
        away = False
        while True:
            await asyncio.sleep(self._every)
            try:
                await asyncio.to_thread(self._directory.renew)
                away = False
            except DiscoveryUnavailable as error:
                if not away:
                    logger.error("the registration could not be renewed: %s", error)
                away = True

    async def leave(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        try:
            await asyncio.to_thread(self._directory.withdraw)
        except DiscoveryUnavailable as error:
            logger.error("the registration could not be withdrawn, it runs out by itself: %s", error)
