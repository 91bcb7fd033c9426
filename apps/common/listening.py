"""Hearing what is said to a group of the channel layer, whatever becomes of the layer meanwhile."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from apps.common.signed import Reader

logger = logging.getLogger(__name__)

RENEW: Final = 3600.0  # seconds; a channel layer forgets a member of a group after a day
RETRY: Final = 1.0  # seconds between tries to reach a layer that is away


def _nothing(returned: bool) -> None:
    """Who joins has missed nothing that matters."""


class Listener:
    """`run` it as a task. Only what is signed for the reader's purpose is heard."""

    def __init__(
        self,
        layer: Any,
        group: str,
        reader: Reader,
        heard: Callable[[dict[str, Any]], None],
        joined: Callable[[bool], None] = _nothing,
    ) -> None:
        """`heard` gets the body of each message. `joined` is called when what was said before may have been
        missed: with False when it listens for the first time, with True when the layer was away."""
        self.deaf_since: float | None = None  # monotonic; the layer does not answer
        self._layer = layer
        self._group = group
        self._reader = reader
        self._heard = heard
        self._joined = joined

    async def run(self) -> None:
        channel = ""
        until = float("-inf")  # when its place in the group has to be renewed
        listened = False
        while True:
            try:
                if not channel:
                    channel = await self._layer.new_channel()
                if time.monotonic() >= until:
                    await self._layer.group_add(self._group, channel)
                    until = time.monotonic() + RENEW
                if self.deaf_since is not None or not listened:
                    self._is_back(listened)
                    listened = True
                async with asyncio.timeout(RENEW):
                    received = await self._layer.receive(channel)
                body = self._reader.open(received.get("body"))
                if body is not None:
                    self._heard(body)
            except TimeoutError:
                continue
            except Exception as error:
                if self.deaf_since is None:
                    self.deaf_since = time.monotonic()
                    logger.error("the channel layer does not answer: %s", error)
                until = float("-inf")
                await asyncio.sleep(RETRY)

    def _is_back(self, listened: bool) -> None:
        if self.deaf_since is not None:
            logger.warning("the channel layer answers again")
            self.deaf_since = None
        self._joined(listened)
