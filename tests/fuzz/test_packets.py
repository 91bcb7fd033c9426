"""Nearly-packets against a real node, by TCP and WebSocket: it answers all others, and its log stays clean.

FUZZ_SECONDS (10): CI gives it a minute, `make faults` ten. FUZZ_SEED names the run that is to be repeated.
Without coverage feedback (atheris has none of a core that mypyc compiled): what it mutates are the vectors of
all packets, good and bad, after a CONNECT of each version and some that change the session's state.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vectors import BAD, GOOD
from tests.wire.nodes import Node
from tests.wire.raw import VERSIONS, Closed, Raw, RawWebSocket, connect, publish, subscribe

SECONDS = float(os.environ.get("FUZZ_SECONDS", "10"))
SEED = int(os.environ.get("FUZZ_SEED", "0")) or random.randrange(1, 1 << 32)
LONGEST = 1 << 16  # bytes of one stream


@pytest.fixture
def node(template: Path, tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path / "data", template) as started:
        yield started


class Fuzzer:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._vectors = {
            level: sorted({vector.bytes for vector in (*GOOD, *BAD) if vector.level == level})
            for level in VERSIONS
        }

    def stream(self, client_id: str) -> bytes:
        """What one connection sends."""
        some = self._random
        level = some.choice(VERSIONS)
        will = ("w", b"x") if some.random() < 0.3 else None
        packets = [connect(level, client_id, clean=some.random() < 0.7, will=will)]
        if some.random() < 0.1:
            packets = [self._mutated(packets[0])]
        if some.random() < 0.5:
            filters = ["#", "+/+", "$share/g/#", "fuzz/" + "x/" * some.randrange(30)]
            packets.append(subscribe(level, some.choice(filters), qos=some.randrange(3)))
        if some.random() < 0.3:
            packets.append(publish(level, "fuzz", b"x" * some.randrange(300), some.randrange(3), 1, True))
        for _ in range(some.randrange(1, 12)):
            data = some.choice(self._vectors[level])
            packets.append(self._mutated(data) if some.random() < 0.7 else data)
        return b"".join(packets)[:LONGEST]

    def _mutated(self, data: bytes) -> bytes:
        """A few changes, or one of the lengths that break parsers."""
        some = self._random
        raw = bytearray(data)
        for _ in range(some.choice((1, 1, 1, 2, 4))):
            at = some.randrange(len(raw) + 1)
            kind = some.randrange(7)
            if kind == 0 and at < len(raw):
                raw[at] ^= 1 << some.randrange(8)
            elif kind == 1 and at < len(raw):
                raw[at] = some.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif kind == 2:
                del raw[at : at + some.randrange(1, 5)]
            elif kind == 3:
                raw[at:at] = some.randbytes(some.randrange(1, 9))
            elif kind == 4:
                raw[at:at] = raw[: some.randrange(len(raw) + 1)]
            elif kind == 5 and len(raw) > 1:  # another length
                raw[1:2] = some.choice((b"\0", b"\x7f", b"\xff\x7f", b"\xff\xff\xff\x7f", b"\x80\0"))
            elif kind == 6 and 2 < len(raw) < 130:  # its right one, for what it is now
                raw[1] = len(raw) - 2
        return bytes(raw)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        while data:
            size = self._random.choice((1, 7, 100, LONGEST))
            yield data[:size]
            data = data[size:]


def test_a_real_node(node: Node) -> None:
    fuzzer = Fuzzer(SEED)
    end = time.monotonic() + SECONDS
    number = 0
    with Raw(node.tcp) as neighbour:
        neighbour.connect(5, "neighbour")
        while time.monotonic() < end:
            number += 1
            client = RawWebSocket(node.ws) if number % 10 == 0 else Raw(node.tcp)
            data = fuzzer.stream(f"fuzz-{number % 20}")
            try:
                client.sock.settimeout(0.01)
                if isinstance(client, RawWebSocket):
                    client.send(data)
                else:
                    for piece in fuzzer.pieces(data) if number % 5 == 0 else (data,):
                        client.send(piece)
                client.read()
            except (Closed, OSError):
                pass
            client.close()
            if number % 50 == 0:
                neighbour.ping()
        neighbour.ping()
    print(f"{number} connections, FUZZ_SEED={SEED}")
    assert node.process.poll() is None
    assert not node.trouble(), f"FUZZ_SEED={SEED}\n{node.trouble()}"
