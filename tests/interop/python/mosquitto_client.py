"""mosquitto_pub and mosquitto_sub, in each version; the first argument is the directory that they are in.

"" is this system's; what comes from another release of Debian runs with its own libraries.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
from pathlib import Path
from typing import Any

from steps import walk, where

AT = where(before=1)
VERSION = {3: "mqttv31", 4: "mqttv311", 5: "mqttv5"}[AT.version]
FORM = "message %t %r %x"
_numbers = itertools.count()
_kept: dict[str, list[str]] = {}  # client id -> filters of its session


def program(name: str) -> list[str]:
    return ["stdbuf", "-oL", *_program(name)]


def _program(name: str) -> list[str]:
    root = AT.more[0]
    if not root:
        return [shutil.which(name) or name]
    lib = Path(root) / "usr/lib"
    loader = Path(root) / "usr/lib64/ld-linux-x86-64.so.2"
    return [str(loader), "--library-path", str(lib / "x86_64-linux-gnu"), str(Path(root) / "usr/bin" / name)]


class Mosquitto:
    """A client with a session keeps one mosquitto_sub; else there is another one for each subscription."""

    def __init__(self, client_id: str, clean: bool, options: list[str], will: list[str]) -> None:
        self.client_id = client_id
        self.clean = clean
        self.options = options
        self.will = will
        self.subscribers: list[asyncio.subprocess.Process] = []
        self.messages: asyncio.Queue[tuple[str, bytes, bool]] = asyncio.Queue()
        self.tasks: list[asyncio.Task[None]] = []

    async def listen(self, client_id: str, filters: list[str], qos: int) -> None:
        keep = [] if self.clean else ["-c", *(["-x", "3600"] if AT.version == 5 else [])]
        topics = [part for filter in filters for part in ("-t", filter)]
        process = await asyncio.create_subprocess_exec(
            *(*program("mosquitto_sub"), *self.options, *self.will, *keep, "-i", client_id),
            *(*topics, "-q", str(qos), "-d", "-F", FORM),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=4_000_000,
        )
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.tasks.append(asyncio.create_task(self.read(process, ready)))
        await asyncio.wait_for(ready, 15)
        self.subscribers.append(process)

    async def read(self, process: asyncio.subprocess.Process, ready: asyncio.Future[None]) -> None:
        assert process.stdout is not None
        said = ""
        async for raw in process.stdout:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith("message "):
                _, topic, retained, payload = line.split(" ")
                self.messages.put_nowait((topic, bytes.fromhex(payload), retained == "1"))
            elif "received SUBACK" in line and not ready.done():
                ready.set_result(None)
            said = f"{said[-1000:]}{line[:200]}\n"
        if not ready.done():
            ready.set_exception(ConnectionError(said))

    async def start(self) -> None:
        filters = [] if self.clean else _kept.setdefault(self.client_id, [])
        await self.listen(self.client_id, filters or [f"{self.client_id}/none"], 2)

    async def subscribe(self, topic: str, qos: int) -> None:
        if self.clean:
            await self.listen(f"{self.client_id}-{next(_numbers)}", [topic], qos)
            return
        await self.end()
        _kept[self.client_id].append(topic)
        await self.start()

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        process = await asyncio.create_subprocess_exec(
            *(*program("mosquitto_pub"), *self.options, "-t", topic, "-q", str(qos), "-s", *["-r"] * retain),
            stdin=asyncio.subprocess.PIPE,
        )
        await asyncio.wait_for(process.communicate(payload), 15)
        assert process.returncode == 0

    async def message(self) -> tuple[str, bytes, bool]:
        return await asyncio.wait_for(self.messages.get(), 15)

    async def end(self) -> None:
        await asyncio.sleep(0.2)  # its handler takes a lock that what it interrupts may hold, and then hangs
        for process in self.subscribers:
            if process.returncode is None:
                process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
        await asyncio.gather(*self.tasks)
        self.subscribers.clear()
        self.tasks.clear()

    async def close(self) -> None:
        await self.end()


async def connect(
    client_id: str, clean: bool = True, password: str = "", tls: bool = False, will: Any = None
) -> Mosquitto:
    door = AT.door(tls)
    options = ["-V", VERSION, "-h", "localhost", "-p", str(door.port), "-u", AT.user, "-P", password]
    options += ["--cafile", AT.ca] * door.tls
    options += ["--ws"] * door.web
    last = ["--will-topic", will[0], "--will-payload", will[1].decode(), "--will-qos", "1"] if will else []
    client = Mosquitto(client_id, clean, options, last)
    await client.start()
    return client


asyncio.run(walk(AT, connect))
