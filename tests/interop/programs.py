"""Builds the clients of other people and runs each through what installations do.

A program is started with: port, TLS port, WebSocket port, file of the CA, user name, password, and a word
that is part of all its topics and client ids. It prints a line "<step> ok" for each of STEPS, or "<step> skip
<reason>". After the line "restart" it waits for a line on its standard input: meanwhile the node is killed
and started again. What goes wrong ends it with a non-zero code and its reason on standard error.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire.programs import find

HERE = Path(__file__).parent
STEPS = ("login", "refused", "tls", "qos", "retained", "will", "session", "large", "restart")
BUILD_TIMEOUT = 300  # seconds
RUN_TIMEOUT = 60.0


class Missing(Exception):
    """A toolchain or a package cannot be had here: the reason."""


@contextmanager
def locked(name: str) -> Iterator[None]:
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built(name: str, make: Callable[[Path], None]) -> Path:
    """build/interop-<name>-<digest of its sources>, made by `make` in a copy of them once."""
    digest = hashlib.sha256()
    sources = [each for each in sorted((HERE / name).rglob("*")) if each.is_file()]
    for each in sources:
        digest.update(str(each.relative_to(HERE)).encode() + each.read_bytes())
    target = ROOT / "build" / f"interop-{name}-{digest.hexdigest()[:16]}"
    with locked(f"interop-{name}"):
        if not (target / ".done").exists():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(HERE / name, target)
            make(target)
            (target / ".done").touch()
    return target


def command(directory: Path, *arguments: str, **environment: str) -> None:
    """Raises `Missing` with the end of what it said."""
    if find(arguments[0]) == arguments[0] and not Path(arguments[0]).exists():
        raise Missing(f"not installed: {arguments[0]}")
    done = subprocess.run(
        [find(arguments[0]), *arguments[1:]],
        cwd=directory,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT,
        check=False,
    )
    if done.returncode:
        raise Missing(f"{arguments[0]} failed: {(done.stderr or done.stdout)[-1500:]}")


def available(make: Callable[[], list[str]]) -> list[str]:
    """The command line of a program; skips with the reason where it cannot be had, and fails in CI."""
    try:
        return make()
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


class Program:
    """One run. `steps` fills as it goes."""

    def __init__(self, line: list[str], arguments: list[str], restart: Callable[[], None]) -> None:
        self._restart = restart
        self.steps: dict[str, str] = {}
        self.process = subprocess.Popen(
            [*line, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> None:
        process = self.process
        assert process.stdout is not None and process.stdin is not None and process.stderr is not None
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(process.stderr.read()))  # type: ignore[union-attr]
        reader.start()
        clock = threading.Timer(RUN_TIMEOUT, process.kill)
        clock.start()
        try:
            for line in process.stdout:
                word, _, rest = line.strip().partition(" ")
                if word == "restart" and not rest:
                    self._restart()
                    process.stdin.write("done\n")
                    process.stdin.flush()
                elif word in STEPS:
                    self.steps[word] = rest
            code = process.wait()
        finally:
            clock.cancel()
            process.kill()
            process.wait()
            reader.join()
            for stream in (process.stdin, process.stdout, process.stderr):
                stream.close()
        missing = [step for step in STEPS if step not in self.steps]
        assert code == 0 and not missing, (
            f"code {code} after {self.steps}; missing {missing}\n{said[0][-4000:]}"
        )
