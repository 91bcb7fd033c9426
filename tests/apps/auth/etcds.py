"""A real etcd for tests."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def required() -> None:
    """Skip where there is no etcd; fail in CI."""
    if shutil.which("etcd") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("etcd is not installed (Debian: etcd-server)")
        pytest.skip("etcd is not installed (Debian: etcd-server)")


class Etcd:
    """A real etcd with its data in `directory`; `stop` and `start` are an outage."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.peers = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        peers = f"http://127.0.0.1:{self.peers}"
        self.process = subprocess.Popen(
            [
                *("etcd", "--data-dir", str(self.directory), "--log-level", "error"),
                *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"default={peers}", "--unsafe-no-fsync"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while True:
            try:
                with urlopen(f"{self.url}/health", timeout=1) as answer:
                    if json.load(answer)["health"] == "true":
                        return
            except OSError:
                pass
            assert time.monotonic() < end, "etcd does not start"
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
