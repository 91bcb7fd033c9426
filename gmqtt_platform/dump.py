"""SIGUSR1, or `gmqtt dump`: the state of a node for support, as JSON in its data directory. No secrets.

Names of clients and topics, payloads and local variables are not in it: stacks have file, line and function.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import platform
import resource
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any, Final

from apps.common import node_services
from apps.console import health
from gmqtt_platform import __date__, __version__

logger = logging.getLogger(__name__)

KEPT: Final = 10  # dumps in the directory
SAMPLES: Final = 10  # looks at how late the loop is
PAUSE: Final = 0.02  # seconds between them
MAX_TASKS: Final = 500  # with stacks; the rest are counted by their names
DEPTH: Final = 20  # frames


class Dumper:
    def __init__(
        self,
        directory: Path,
        stats: Callable[[], dict[str, Any]],
        transports: Callable[[], dict[str, int]],
        configuration: Callable[[], dict[str, Any]],
    ) -> None:
        """`transports`: connections by transport and protocol level. `configuration`: with secrets hidden."""
        self._directory = directory / "dumps"
        self._stats = stats
        self._transports = transports
        self._configuration = configuration
        self._started = time.monotonic()
        self._writing: asyncio.Task[dict[str, Any]] | None = None

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"dump": self.dump}

    def signalled(self) -> None:
        self._begin()

    async def dump(self) -> dict[str, Any]:
        """{"path": on the node's machine, "bytes": of the file}. Who asks meanwhile gets the same."""
        return await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[dict[str, Any]]:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="dump")
        return self._writing

    async def _write(self) -> dict[str, Any]:
        state = await self.collect()
        try:
            path, size = await asyncio.to_thread(_save, self._directory, state)
        except OSError as error:
            logger.error("the state was not dumped: %s", error)
            raise
        logger.warning("state dumped to %s", path)
        return {"path": str(path), "bytes": size}

    async def collect(self) -> dict[str, Any]:
        lag = await _loop_lag()
        services = node_services.current()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "at": datetime.now(UTC).isoformat(),
            "version": __version__,
            "released": __date__,
            "python": platform.python_version(),
            "system": platform.platform(),
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - self._started, 1),
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
            "peak_memory_bytes": usage.ru_maxrss * 1024,
            "descriptors": _descriptors(),
            "collector": {"counts": gc.get_count(), "frozen": gc.get_freeze_count()},
            "loop_lag_seconds": lag,
            "node": self._stats(),
            "connections": self._transports(),
            "health": {name: check() for name, check in services.checks.items()} if services else {},
            "not_ready": health.reasons(),
            "tasks": _tasks(),
            "threads": _threads(),
            "configuration": self._configuration(),
        }


def _descriptors() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:  # not Linux
        return None


async def _loop_lag() -> dict[str, float]:
    """By how much a timer is late, now."""
    late = []
    for _ in range(SAMPLES):
        due = time.monotonic() + PAUSE
        await asyncio.sleep(PAUSE)
        late.append(max(time.monotonic() - due, 0.0))
    return {"mean": round(sum(late) / SAMPLES, 6), "max": round(max(late), 6)}


def _tasks() -> dict[str, Any]:
    """Each task of the loop with where it waits; alike ones once, with their number."""
    counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
    tasks = list(asyncio.all_tasks())
    for task in tasks[:MAX_TASKS]:
        frames = tuple(_place(frame) for frame in task.get_stack(limit=DEPTH))
        name = getattr(task.get_coro(), "__qualname__", "?")
        counts[name, frames] += 1
    found = [{"count": n, "coroutine": name, "stack": stack} for (name, stack), n in counts.most_common()]
    return {"count": len(tasks), "left_out": max(len(tasks) - MAX_TASKS, 0), "alike": found}


def _threads() -> list[dict[str, Any]]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [
        {
            "name": names.get(ident, str(ident)),
            "stack": [
                f"{each.filename}:{each.lineno} {each.name}"
                for each in traceback.extract_stack(frame, limit=DEPTH)
            ],
        }
        for ident, frame in sys._current_frames().items()
    ]


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} {frame.f_code.co_qualname}"


def _save(directory: Path, state: dict[str, Any]) -> tuple[Path, int]:
    """For the node's own user alone; the oldest go."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"dump-{datetime.now(UTC).strftime('%Y%m%dT%H%M%S.%fZ')}.json"
    text = json.dumps(state, indent=1, default=str)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    for old in sorted(directory.glob("dump-*.json"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return path, len(text)
