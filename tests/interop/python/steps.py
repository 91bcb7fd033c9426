"""What every Python client is put through; each module beside this one says how with its own library."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

LARGE = 1_000_000


@dataclass
class Where:
    tcp: int
    tls: int
    ws: int
    ca: str
    user: str
    password: str
    tag: str
    more: list[str]


class Client(Protocol):
    async def subscribe(self, topic: str, qos: int) -> None: ...

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None: ...

    async def message(self) -> tuple[str, bytes, bool]:
        """The next one: topic, payload, retain flag."""

    async def close(self) -> None: ...


Connect = Callable[..., Awaitable[Client]]


def say(*words: str) -> None:
    print(*words, flush=True)


def where() -> Where:
    tcp, tls, ws, *rest = sys.argv[1:]
    return Where(int(tcp), int(tls), int(ws), *rest[:4], rest[4:])


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
