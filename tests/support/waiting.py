"""Waiting in a test for what another task, thread or process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PAUSE = 0.01  # seconds between two looks


async def until(
    condition: Callable[[], object], seconds: float = 20.0, what: str = "it did not happen in time"
) -> None:
    """Wait until `condition()` is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        await asyncio.sleep(PAUSE)
