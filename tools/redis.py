"""A Redis of our own: append-only file on, as a cluster of nodes needs it."""

from __future__ import annotations

import socket
from pathlib import Path

from tools.servers import Server, program


class Redis(Server):
    """On 127.0.0.1; its data survives a SIGKILL and a power cut (append-only file, synced at once)."""

    def __init__(self, directory: Path, port: int = 0) -> None:
        super().__init__(directory, port)
        self.command = [
            program("redis-server", "redis-server"),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(directory)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--databases", "64"),
        ]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def ready(self) -> bool:
        try:
            return self.call("PING") == b"+PONG\r\n"  # while it loads its file it answers -LOADING
        except OSError:
            return False

    def call(self, word: str) -> bytes:
        """The raw answer to a command of one word."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            client.sendall(word.encode() + b"\r\n")
            return client.recv(1024)
