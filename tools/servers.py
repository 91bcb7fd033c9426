"""What the servers of this package have in common."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path


class Missing(Exception):
    """A program is not installed; the text says which, and what Debian calls it."""


def program(name: str, package: str) -> str:
    """The path of a program; daemons are often outside a user's PATH."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise Missing(f"{name} is not installed (Debian: {package})")
    return found


def write_private(path: Path, text: str) -> None:
    """A file that only this user can read, whatever was there."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A process with its data in `directory`. `kill` and `start` again are an outage: port and data stay."""

    command: list[str]
    patience = 60.0  # seconds that it may take to be ready

    def __init__(self, directory: Path, port: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)  # data, log and secrets are nobody else's on this machine
        self.directory = directory
        self.port = port or free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.directory / "log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def launch(self) -> None:
        """In a session of its own: a Ctrl-C is not its, and it is stopped after those who need it."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start(self) -> None:
        """Answer when it can be used."""
        self.launch()
        assert self.process is not None
        end = time.monotonic() + self.patience
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                tail = self.log.read_text(errors="replace")[-3000:]
                raise RuntimeError(f"{self.command[0]} does not start:\n{tail}")
            time.sleep(0.05)

    def ready(self) -> bool:
        """Does it answer?"""
        raise NotImplementedError

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def detach(self) -> int:
        """The id of the process, which somebody else will stop."""
        assert self.process is not None
        self.process.returncode = 0  # Popen would warn that it is still running
        return self.process.pid
