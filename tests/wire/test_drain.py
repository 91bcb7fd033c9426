"""500 clients behind the real HAProxy with the shipped file, and one of the two nodes is drained."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

from gmqtt_platform.config.loader import ROOT
from tests.support.waiting import until
from tests.wire import shipped
from tests.wire.certs import Certificates
from tests.wire.conftest import Start
from tests.wire.nodes import Node, environment
from tests.wire.programs import needs
from tests.wire.raw import V5, connect, publish, subscribe

CLIENTS = 500
RATE = 50  # clients a second that the drained node disconnects
PERIOD = 1.0  # seconds between the messages of one client
UNKNOWN = b"PROXY UNKNOWN\r\n"
FOREVER = b"\x11\xff\xff\xff\xff"  # session expiry
USE_ANOTHER_SERVER = 0x9C
TOKEN = "the token of the tests"


async def packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return first, await reader.readexactly(length)


@contextlib.asynccontextmanager
async def connected(
    port: int, name: str, preamble: bytes = b"", **options: object
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """ConnectionError where the client is not let in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(preamble + connect(V5, name, **options))  # type: ignore[arg-type]
        first, body = await packet(reader)
        if first != 0x20 or body[1] != 0:
            raise ConnectionRefusedError
        yield reader, writer
    finally:
        writer.close()


class Device:
    """Publishes one message after the other, each until it is acknowledged, wherever it is let in."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.next = 0  # number of its next message; those below are acknowledged
        self.ready = asyncio.Event()
        self.lost: list[float] = []  # when its connection ended
        self.told = 0  # how often the node said why

    async def run(self, port: int) -> None:
        while True:
            try:
                async with connected(port, self.name) as (reader, writer):
                    await self._publish(reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                if self.ready.is_set():
                    self.lost.append(time.monotonic())
                    self.ready.clear()
            await asyncio.sleep(0.5)

    async def _publish(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            payload = f"{self.name} {self.next}".encode()
            writer.write(publish(V5, f"devices/{self.name}", payload, qos=1, packet_id=1))
            async with asyncio.timeout(30):
                await self._answer(reader, 0x40)
            self.next += 1
            self.ready.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PERIOD):
                    await self._answer(reader, 0)

    async def _answer(self, reader: asyncio.StreamReader, wanted: int) -> None:
        first, body = await packet(reader)
        if first == 0xE0 and body and body[0] == USE_ANOTHER_SERVER:
            self.told += 1
        if first != wanted:
            raise ConnectionResetError


async def listen(port: int, name: str, seen: set[bytes], ready: asyncio.Event) -> None:
    """A persistent subscriber of one node, straight to it; it comes back when it can."""
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with connected(port, name, UNKNOWN, clean=False, properties=FOREVER) as (reader, writer):
                writer.write(subscribe(V5, "devices/#", qos=1))
                while True:
                    first, body = await packet(reader)
                    if first == 0x90:
                        ready.set()
                    if first & 0xF0 == 0x30:
                        end = 2 + int.from_bytes(body[:2])
                        writer.write(b"\x40\x02" + body[end : end + 2])
                        seen.add(body[end + 3 :])  # after the packet identifier and no properties
        ready.clear()
        await asyncio.sleep(0.2)


async def command(node: Node, *arguments: str) -> None:
    line = [
        sys.executable,
        str(ROOT / "manage.py"),
        "gmqtt",
        "--url",
        f"http://127.0.0.1:{node.ws}",
        *arguments,
    ]
    done = await asyncio.to_thread(
        subprocess.run, line, env=environment(node.data_dir), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def connections(node: Node) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{node.ws}/metrics")
    request.add_header("Authorization", f"Bearer {TOKEN}")
    with urllib.request.urlopen(request, timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return int(float(next(line for line in lines if line.startswith("gmqtt_connections ")).split()[1]))


@needs("haproxy")
def test_a_drained_node_hands_its_clients_over(
    start: Start, certificates: Certificates, tls_settings: dict[str, str], tmp_path: Path
) -> None:
    settings = {**tls_settings, "LISTENERS__PROXY_PROTOCOL": "true", "HTTP__TRUSTED_PROXIES": "127.0.0.1"}
    settings |= {"CONSOLE__METRICS_TOKEN": TOKEN, "NODE__NAME": "a", "NODE__DRAIN_RATE": str(RATE)}
    old = start(**settings)
    new = start(**(settings | {"NODE__NAME": "b"}))
    with shipped.haproxy([old, new], certificates, tmp_path / "haproxy") as proxy:
        asyncio.run(_drain(old, new, proxy.mqtt))


async def _drain(old: Node, new: Node, port: int) -> None:
    devices = [Device(f"d{number}") for number in range(CLIENTS)]
    seen: set[bytes] = set()
    ready = [asyncio.Event(), asyncio.Event()]
    sinks = [
        asyncio.create_task(listen(node.tcp, f"sink-{node.tcp}", seen, each))
        for node, each in zip((old, new), ready, strict=True)
    ]
    await asyncio.wait_for(asyncio.gather(*(each.wait() for each in ready)), 30)
    running = [asyncio.create_task(each.run(port)) for each in devices]
    await until(lambda: all(each.ready.is_set() for each in devices), 60, "not all clients came in")
    here = connections(old) - 1
    assert 200 <= here <= 300  # leastconn

    await command(old, "drain", "start", "a")
    await until(lambda: connections(old) == 0, 120, "the node is not empty")
    await until(lambda: all(each.ready.is_set() for each in devices), 60, "not all clients are elsewhere")
    assert connections(new) == CLIENTS + 1

    lost = sorted(each.lost[0] for each in devices if each.lost)
    moved = [each for each in devices if each.lost]
    assert len(moved) == here, "HAProxy cut clients of the other node, too"
    assert all(len(each.lost) == each.told == 1 for each in moved), "cut, and not told to go"
    seconds = lost[-1] - lost[0]
    at_once = max(sum(begin <= each < begin + 0.5 for each in lost) for begin in lost)
    print(f"\n{here} of {CLIENTS} clients moved in {seconds:.1f} s, at most {at_once} in half a second")
    assert seconds > 0.6 * here / RATE
    assert at_once <= 2 * RATE

    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await command(old, "drain", "cancel", "a")  # what its subscriber has not had yet
    acknowledged = {f"{each.name} {number}".encode() for each in devices for number in range(each.next)}
    await until(
        lambda: acknowledged <= seen, 30, f"{len(acknowledged - seen)} acknowledged messages are lost"
    )
    print(f"{len(acknowledged)} acknowledged messages, 0 lost")
    for task in sinks:
        task.cancel()
    await asyncio.gather(*sinks, return_exceptions=True)
