"""`python -m bench.bridge_link`: a bridge's batches to its node, by the channel layer or by a Unix socket.

Batches of 256 messages of 100 bytes from one process to another, at most 8 of them not acknowledged: messages
per second, and microseconds of CPU for each, of both processes and Redis together.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop
from channels_redis.core import RedisChannelLayer

from tools.redis import Redis

from . import probe

BATCH: Final = 256  # messages
SIZE: Final = 100  # bytes of each
WINDOW: Final = 8  # batches that are not acknowledged
BATCHES: Final = 4000
BODY: Final = bytes(BATCH * SIZE)


async def _send_socket(path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(path)
    head = len(BODY).to_bytes(4, "big")
    for number in range(BATCHES):
        if number >= WINDOW:
            await reader.readexactly(1)
        writer.write(head + BODY)
        await writer.drain()
    await reader.readexactly(WINDOW)
    writer.close()


async def _take_socket(path: str, ready: Callable[[], None]) -> None:
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(BATCHES):
            await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
            writer.write(b"+")
        await writer.drain()
        done.set()

    async with await asyncio.start_unix_server(serve, path):
        ready()
        await done.wait()


async def _send_layer(url: str) -> None:
    layer = RedisChannelLayer(hosts=[url], capacity=10 * WINDOW)
    for number in range(BATCHES):
        if number >= WINDOW:
            await layer.receive("bridge")
        await layer.send("node", {"type": "batch", "body": BODY})
    for _ in range(WINDOW):
        await layer.receive("bridge")
    await layer.close_pools()


async def _take_layer(url: str, ready: Callable[[], None]) -> None:
    layer = RedisChannelLayer(hosts=[url], capacity=10 * WINDOW)
    ready()
    for _ in range(BATCHES):
        await layer.receive("node")
        await layer.send("bridge", {"type": "taken"})
    await layer.close_pools()


def _run(work: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    async def main() -> None:
        await work(*arguments)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


def measure(name: str, send: Any, take: Any, where: str, redis: int) -> str:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = used.ru_utime + used.ru_stime
    ready = multiprocessing.Event()
    taker = multiprocessing.Process(target=_run, args=(take, where, ready.set))
    taker.start()
    ready.wait(30)
    sender = multiprocessing.Process(target=_run, args=(send, where))
    before, began = probe.cpu_seconds(redis), time.perf_counter()
    sender.start()
    sender.join()
    taker.join()
    took = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - spent + probe.cpu_seconds(redis) - before
    count = BATCHES * BATCH
    return f"{name:14} {count / took:12,.0f} messages/s, {cpu / count * 1e6:.2f} us of CPU for each"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        redis = Redis(Path(directory) / "redis")
        redis.start()
        try:
            print(measure("channel layer", _send_layer, _take_layer, redis.url, redis.pid))
            print(measure("Unix socket", _send_socket, _take_socket, f"{directory}/link", redis.pid))
        finally:
            redis.kill()
    return 0


if __name__ == "__main__":
    sys.exit(main())
