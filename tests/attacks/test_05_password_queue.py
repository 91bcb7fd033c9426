"""Point 5: strangers who send wrong passwords without end: those with right ones are let in all the same.

Django's real hasher, one thread: about 0.3 s of CPU for each password. In a queue of 256 in the order in
which they came the owner heard "server busy", or timed out.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.support import P99, StopWatch
from tests.wire import nodes
from tests.wire.nodes import Node
from tests.wire.raw import V5, packet, text

STRANGERS = 100
SERVER_BUSY = 0x89
WAIT = 9.0  # seconds, less than limits.connect_timeout
REGISTER = """
from apps.auth.services import registering
from apps.common.actors import SYSTEM
for name in ("stop-watch", "owner-0", "owner-1", "owner-2"):
    registering.register(SYSTEM, registering.NewClient(client_id=name, password="right of " + name))
"""


@pytest.fixture(scope="module")
def node(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("guessed-at")
    shutil.copytree(template, directory / "template")
    nodes.manage(directory / "template", "shell", "-v0", "-c", REGISTER)
    settings = {"AUTH__CLIENT": "django", "AUTH__ACL": "django"}
    with Node(directory / "node", directory / "template", **settings) as started:
        yield started


def connect(name: str, password: str) -> bytes:
    body = text("MQTT") + bytes([V5, 0xC2]) + struct.pack("!H", 60) + b"\0"
    return packet(0x10, body + text(name) + text(name) + text(password))


def reason(node: Node, name: str, password: str, source: str, timeout: float) -> int:
    """Of the CONNACK; -1: there was none."""
    with socket.create_connection(("127.0.0.1", node.tcp), timeout, (source, 0)) as client:
        client.sendall(connect(name, password))
        answer = client.recv(4)
        return answer[3] if len(answer) == 4 else -1


def let_in(node: Node, name: str) -> float:
    """Try as a device does, with a pause after "server busy"; the seconds that it took."""
    start = time.monotonic()
    while (answer := reason(node, name, f"right of {name}", "127.0.0.1", 15)) == SERVER_BUSY:
        assert time.monotonic() < start + WAIT, "server busy"
        time.sleep(1)
    assert answer == 0, answer
    return time.monotonic() - start


class Strangers:
    """They try again as soon as they hear an answer, each under its own name."""

    def __init__(self, node: Node, source: str) -> None:
        self._node = node
        self._source = source
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True) for number in range(STRANGERS)
        ]
        self.answers: list[int] = []

    def _run(self, number: int) -> None:
        attempt = 0
        while not self._over.is_set():
            attempt += 1
            with contextlib.suppress(OSError):
                answer = reason(
                    self._node, f"stranger-{number}", f"wrong-{attempt}-{self._source}", self._source, 15
                )
                self.answers.append(answer)
            self._over.wait(0.1)

    def __enter__(self) -> Strangers:
        for thread in self._threads:
            thread.start()
        nodes.until(lambda: len(self.answers) > STRANGERS, 60)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)


@pytest.mark.parametrize(("number", "source"), [(0, "127.0.0.2"), (1, "127.0.0.1")], ids=["far", "same"])
def test_owners_come_in_while_strangers_guess(node: Node, number: int, source: str) -> None:
    """`source`: the strangers' address; the same as the owner's where a proxy does not tell."""
    watch = StopWatch(node, connect("stop-watch", "right of stop-watch"))
    with watch, Strangers(node, source) as strangers:
        assert let_in(node, f"owner-{number}") < WAIT
    assert 0 not in strangers.answers
    assert watch.p99 < P99, watch.p99


def test_those_who_leave_at_once_cost_nothing(node: Node) -> None:
    for number in range(200):
        with socket.create_connection(("127.0.0.1", node.tcp)) as client:
            client.sendall(connect(f"gone-{number}", "wrong"))
    assert let_in(node, "owner-2") < WAIT
