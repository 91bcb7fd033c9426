"""`python -m tests.faults.fleet PORT CA`: registered devices over TLS, in a process of their own.

The first line of its input is {client id: secret}. They connect and subscribe to a topic of theirs, each
trying again until it is let in, and "SECONDS TRIES" is printed when all are; each further line makes them all
come back, and its end ends them.
"""

from __future__ import annotations

import json
import ssl
import struct
import sys
import threading
import time
from collections.abc import Iterator

from tests.wire.raw import V311, Closed, Raw, packet, text

THREADS = 4
WAIT = 0.2  # seconds until the next try


def hello(client_id: str, secret: str) -> bytes:
    """CONNECT of 3.1.1 with user name and password, a clean session, no keepalive."""
    body = text("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 0)
    return packet(0x10, body + text(client_id) + text(client_id) + text(secret))


class Fleet:
    def __init__(self, port: int, ca: str, secrets: dict[str, str]) -> None:
        self._port = port
        self._context = ssl.create_default_context(cafile=ca)
        self._secrets = secrets
        self._open: list[Raw] = []
        self._tries = 0

    def come(self) -> tuple[float, int]:
        """Seconds and tries until all are there."""
        began = time.monotonic()
        for client in self._open:
            client.close()
        self._open, self._tries = [], 0
        devices = iter(self._secrets.items())
        lock = threading.Lock()
        threads = [threading.Thread(target=self._some, args=(devices, lock)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began, self._tries

    def _some(self, devices: Iterator[tuple[str, str]], lock: threading.Lock) -> None:
        while True:
            with lock:
                device = next(devices, None)
            if device is None:
                return
            client = self._one(*device)
            with lock:
                self._open.append(client)

    def _one(self, client_id: str, secret: str) -> Raw:
        while True:
            self._tries += 1
            try:
                client = Raw(self._port, self._context, timeout=60.0)
                client.send(hello(client_id, secret))
                if client.packet() == (0x20, b"\0\0"):
                    client.subscribe(V311, f"fleet/{client_id}", qos=1)
                    return client
                client.close()
            except (OSError, Closed):
                pass
            time.sleep(WAIT)


def main() -> None:
    fleet = Fleet(int(sys.argv[1]), sys.argv[2], json.loads(sys.stdin.readline()))
    while True:
        print(*fleet.come(), flush=True)
        if not sys.stdin.readline():
            return


if __name__ == "__main__":
    main()
