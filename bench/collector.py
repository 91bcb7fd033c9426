"""`python -m bench.collector`: what settings of Python's cyclic collector cost a node, in pauses and memory.

For each setting a node with 10,000 clients that stay (`--clients`) is used for 15 s (`--seconds`): others
connect and leave over TCP and WebSocket, HTTP requests come, whose handlers leave reference cycles, and
messages pass. The pauses are the CPU time of the collector's runs, as `gc.callbacks` sees them; "all" is
one look at everything, at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Final

from tests.wire import nodes
from tests.wire.nodes import Node
from tests.wire.raw import V5, V311, Closed, Raw, open_raw, publish

HEAD: Final = (
    "| thresholds | collections of 0, 1, 2 | of the time | worst pause of 0, 1, 2; all | memory "
    "| connects, requests |\n|---|---|--:|---|---|--:|"
)
SETTINGS: Final = (
    (700, 10, 10),
    (5_000, 20, 50),
    (10_000, 20, 50),
    (50_000, 20, 20),
    (0, 0, 0),
)  # Python's own first


def serve(path: str, thresholds: tuple[int, int, int]) -> None:
    """The node's process: `rungateway` with other thresholds; who connects to `path` gets the pauses."""
    pauses: list[tuple[int, float]] = []
    began = [0.0]

    def watch(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            began[0] = time.thread_time()
        else:
            pauses.append((info["generation"], time.thread_time() - began[0]))

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def answer() -> None:
        while True:
            asker, _ = listener.accept()
            with asker:
                asker.sendall(json.dumps(pauses).encode())
                pauses.clear()
                if asker.recv(1):
                    gc.collect()

    threading.Thread(target=answer, daemon=True).start()
    gc.callbacks.append(watch)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")
    set_threshold = gc.set_threshold
    gc.set_threshold = lambda *_: set_threshold(*thresholds)  # the node's own are not used
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", "rungateway"])


def ask(path: Path, collect: bool = False) -> list[tuple[int, float]]:
    with socket.socket(socket.AF_UNIX) as asker:
        asker.connect(str(path))
        asker.sendall(b"c" if collect else b"")
        asker.shutdown(socket.SHUT_WR)
        return [tuple(each) for each in json.loads(b"".join(iter(lambda: asker.recv(65_536), b"")))]


class Load(threading.Thread):
    """Calls `act` until stopped, and counts; a connection that fails is tried again."""

    def __init__(self, act: Any) -> None:
        super().__init__(daemon=True)
        self.count = 0
        self.worst = 0.0  # seconds of one call
        self._act = act
        self.going = True
        self.start()

    def run(self) -> None:
        while self.going:
            began = time.perf_counter()
            with contextlib.suppress(OSError, Closed):
                self._act()
                self.count += 1
            self.worst = max(self.worst, time.perf_counter() - began)


def measure(
    directory: Path, thresholds: tuple[int, int, int], clients: int, seconds: float
) -> dict[str, Any]:
    name = "-".join(map(str, thresholds))
    inspect = directory / f"{name}.sock"
    command = ("-m", "bench.collector", "--node", str(inspect), *map(str, thresholds))
    with Node(directory / name, directory / "template", command, LIMITS__CONNECT_RATE="0") as node:
        staying = []
        for number in range(clients):
            client = Raw(node.tcp)
            client.connect(V311, f"stays-{number}")
            staying.append(client)

        def come(transport: str) -> None:
            client = open_raw(node, transport)
            client.connect(V5, "comes")
            client.close()

        def request() -> None:
            client = Raw(node.ws)
            client.send(b"GET /admin/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            client.closing()
            client.close()

        pinger, publisher = Raw(node.tcp), Raw(node.tcp)
        pinger.connect(V311, "pinger")
        publisher.connect(V311, "publisher")
        payload = b"".join(publish(V311, "a/b", b"x" * 100, 1, packet_id) for packet_id in range(1, 101))

        def send() -> None:
            publisher.send(payload)
            for _ in range(100):
                publisher.packet()

        time.sleep(1)
        memory = node.rss()
        ask(inspect)
        loads = [Load(lambda: come("tcp")), Load(lambda: come("ws")), Load(request), Load(send)]

        def ping() -> None:
            pinger.ping()
            time.sleep(0.005)

        pings = Load(ping)
        time.sleep(seconds)
        for load in (*loads, pings):
            load.going = False
        for load in (*loads, pings):
            load.join(10)
        found = ask(inspect)
        time.sleep(1)
        after = node.rss()
        ask(inspect, collect=True)
        time.sleep(1)
        return {
            "all": ask(inspect)[-1][1],
            "thresholds": thresholds,
            "runs": [sum(1 for generation, _ in found if generation == each) for each in range(3)],
            "share": sum(pause for _, pause in found) / seconds,
            "worst": [
                max((pause for generation, pause in found if generation == each), default=0)
                for each in range(3)
            ],
            "memory": (memory, after),
            "loads": [load.count for load in loads],
            "ping": pings.worst,
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.collector", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--node", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.node:
        path, *thresholds = options.node
        serve(path, (int(thresholds[0]), int(thresholds[1]), int(thresholds[2])))
        return
    print(HEAD)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        nodes.migrate(directory / "template")
        for thresholds in SETTINGS:
            found = measure(directory, thresholds, options.clients, options.seconds)
            runs = ", ".join(map(str, found["runs"]))
            worst = ", ".join(f"{pause * 1000:.1f} ms" for pause in found["worst"])
            whole = f"{found['all'] * 1000:.0f} ms"
            before, after = found["memory"]
            loads = ", ".join(map(str, found["loads"][:3]))
            print(
                f"| {', '.join(map(str, thresholds))} | {runs} | {found['share']:.2%} | {worst}; {whole} "
                f"| {before / 1e6:.0f} -> {after / 1e6:.0f} MB | {loads} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
