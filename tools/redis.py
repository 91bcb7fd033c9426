"""A Redis of our own: append-only file on, as a cluster of nodes needs it."""

from __future__ import annotations

import socket
from pathlib import Path

from apps.common.secretfile import secret_file
from tools.servers import Server, program, write_private


class Redis(Server):
    """On 127.0.0.1; its data survives a SIGKILL and a power cut (append-only file, synced at once)."""

    def __init__(self, directory: Path, port: int = 0, guarded: bool = False) -> None:
        """`guarded`: with a password, kept in `directory` and not in the arguments, which all may see."""
        super().__init__(directory, port)
        self._password = secret_file(directory / "password") if guarded else ""
        conf = directory / "redis.conf"
        write_private(conf, f"requirepass {self._password}\n" if guarded else "")
        self.command = [
            program("redis-server", "redis-server"),
            str(conf),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(directory)),
            *("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--databases", "64"),
        ]

    @property
    def url(self) -> str:
        return f"redis://{f':{self._password}@' if self._password else ''}127.0.0.1:{self.port}/0"

    def ready(self) -> bool:
        try:
            return self.call("PING") == b"+PONG\r\n"  # while it loads its file it answers -LOADING
        except OSError:
            return False

    def call(self, word: str) -> bytes:
        """The raw answer to a command."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as client:
            if self._password:
                client.sendall(f"AUTH {self._password}\r\n".encode())
                client.recv(1024)
            client.sendall(word.encode() + b"\r\n")
            return client.recv(1024)
