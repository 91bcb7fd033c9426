"""What every Python client is put through; each module beside this one says how with its own library."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

LARGE = 1_000_000


@dataclass
class Door:
    scheme: str  # tcp, tls, ws or wss
    port: int
    path: str

    @property
    def tls(self) -> bool:
        return self.scheme in ("tls", "wss")

    @property
    def web(self) -> bool:
        return self.scheme in ("ws", "wss")


@dataclass
class Where:
    plain: Door
    secure: Door
    ca: str
    user: str
    password: str
    tag: str
    version: int
    more: list[str]

    def door(self, tls: bool) -> Door:
        return self.secure if tls else self.plain


class Client(Protocol):
    async def subscribe(self, topic: str, qos: int) -> None: ...

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None: ...

    async def message(self) -> tuple[str, bytes, bool]:
        """The next one: topic, payload, retain flag."""

    async def close(self) -> None: ...


Connect = Callable[..., Awaitable[Client]]


def say(*words: str) -> None:
    print(*words, flush=True)


def where(before: int = 0) -> Where:
    """`before`: arguments of the program itself, which come first."""
    more, rest = sys.argv[1 : 1 + before], sys.argv[1 + before :]
    doors = []
    for url in rest[:2]:
        parts = urlsplit(url)
        doors.append(Door(parts.scheme, int(parts.port or 0), parts.path))
    return Where(doors[0], doors[1], *rest[2:6], int(rest[6]), more)


async def walk(at: Where, connect: Connect) -> None:
    """`connect(client_id, clean=True, password=..., tls=False, will=None)`; a refusal raises."""
    tag = at.tag

    async def named(name: str, **options: object) -> Client:
        return await connect(f"{tag}-{name}", **{"password": at.password} | options)

    first = await named("first")
    await first.close()
    say("login", "ok")
    try:
        await named("refused", password="wrong horse")
    except Exception:
        say("refused", "ok")
    else:
        raise AssertionError("let in with a wrong password")
    secure = await named("tls", tls=True)
    await secure.close()
    say("tls", "ok")

    reader, writer = await named("reader"), await named("writer")
    await reader.subscribe(f"{tag}/qos/#", 2)
    for qos in (0, 1, 2):
        await writer.publish(f"{tag}/qos/{qos}", b"at %d" % qos, qos)
        assert (await reader.message())[:2] == (f"{tag}/qos/{qos}", b"at %d" % qos)
    say("qos", "ok")
    await writer.publish(f"{tag}/kept", b"on", 1, True)
    await reader.subscribe(f"{tag}/kept", 1)
    assert await reader.message() == (f"{tag}/kept", b"on", True)
    say("retained", "ok")

    await reader.subscribe(f"{tag}/gone", 1)
    await named("mortal", will=(f"{tag}/gone", b"gone"))
    successor = await named("mortal")  # whoever takes over its name ends it
    assert (await reader.message())[:2] == (f"{tag}/gone", b"gone")
    await successor.close()
    say("will", "ok")

    lasting = await named("lasting", clean=False)
    await lasting.subscribe(f"{tag}/later", 1)
    await lasting.close()
    await writer.publish(f"{tag}/later", b"waited", 1)
    back = await named("lasting", clean=False)
    assert (await back.message())[:2] == (f"{tag}/later", b"waited")
    say("session", "ok")

    await reader.subscribe(f"{tag}/large", 1)
    await writer.publish(f"{tag}/large", b"x" * LARGE, 1)
    assert (await reader.message())[1] == b"x" * LARGE
    say("large", "ok")
    for each in (reader, writer, back):
        await each.close()

    say("restart")
    assert await asyncio.to_thread(sys.stdin.readline)
    again = await named("lasting", clean=False)
    other = await named("writer")
    await other.publish(f"{tag}/later", b"after", 1)
    assert (await again.message())[:2] == (f"{tag}/later", b"after")
    await other.close()
    await again.close()
    say("restart", "ok")
