"""Builds the clients of other people and runs each through what installations do.

A program is started with: URL (tcp, tls, ws or wss), URL with TLS (tls or wss), file of the CA, user name,
password, a word that is part of all its topics and client ids, and the protocol version (3, 4 or 5). It
prints a line "<step> ok" for each of STEPS. After the line "restart" it waits for a line on its standard
input: meanwhile the node is killed and started again. What goes wrong ends it with a non-zero code and its
reason on standard error.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire.programs import find

HERE = Path(__file__).parent
STEPS = ("login", "refused", "tls", "qos", "retained", "will", "session", "large", "restart")
BUILD_TIMEOUT = 300  # seconds
RUN_TIMEOUT = 180.0  # for programs that run at once, until and after the restart


class Missing(Exception):
    """A toolchain or a package cannot be had here: the reason."""


class NotToBeHad(Missing):
    """Nor can .ci/run install it, so that it is skipped in CI, too."""


@contextmanager
def locked(name: str) -> Iterator[None]:
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def built(name: str, make: Callable[[Path], None]) -> Path:
    """build/interop-<name>-<digest of its sources>, made by `make` in a copy of them once.

    A name without sources: an empty directory."""
    digest = hashlib.sha256()
    sources = [each for each in sorted((HERE / name).rglob("*")) if each.is_file()]
    for each in sources:
        digest.update(str(each.relative_to(HERE)).encode() + each.read_bytes())
    target = ROOT / "build" / f"interop-{name}-{digest.hexdigest()[:16]}"
    with locked(f"interop-{name}"):
        if not (target / ".done").exists():
            shutil.rmtree(target, ignore_errors=True)
            if sources:
                shutil.copytree(HERE / name, target)
            else:
                target.mkdir()
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


def at_least(least: str, *command_line: str) -> None:
    """Is the toolchain new enough? Debian's packages of Go and Rust can be years older than their users'."""
    command(HERE, *command_line)
    done = subprocess.run(
        [find(command_line[0]), *command_line[1:]], capture_output=True, text=True, check=True
    )
    found = re.search(r"(\d+)\.(\d+)", done.stdout)
    if found is None or tuple(map(int, found.groups())) < tuple(map(int, least.split("."))):
        raise NotToBeHad(f"{command_line[0]} {least} or later is needed; here is: {done.stdout.strip()}")


def available(make: Callable[[], list[str]]) -> list[str]:
    """The command line of a program; skips with the reason where it cannot be had, and fails in CI."""
    try:
        return make()
    except NotToBeHad as reason:
        pytest.skip(str(reason))
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


class Program:
    """One run. `steps`: those that it has done."""

    def __init__(self, line: list[str], arguments: list[str]) -> None:
        self.steps: list[str] = []
        self.waits = threading.Event()  # for the restart, or it has ended
        self._said: list[str] = []
        self.process = subprocess.Popen(
            [*line, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # it may start programs of its own, that end with it
        )
        self._threads = [threading.Thread(target=work) for work in (self._read_steps, self._read_errors)]
        for thread in self._threads:
            thread.start()

    def _read_steps(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "restart" and not rest:
                self.waits.set()
            elif word in STEPS and rest == "ok":
                self.steps.append(word)
        self.waits.set()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._said.append(self.process.stderr.read())

    def go_on(self) -> None:
        """The node was restarted."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write("done\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has ended
            pass

    def end(self, timeout: float) -> str:
        """Wait for it; what went wrong, or ""."""
        try:
            code: object = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = "none: it took too long"
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()
        missing = [step for step in STEPS if step not in self.steps]
        if code == 0 and not missing:
            return ""
        return f"code {code}, missing {missing}\n{self._said[0][-3000:]}"


def run_together(programs: dict[str, Program], restart: Callable[[], None]) -> None:
    """All of them against one node, that is restarted once when each has come so far."""
    deadline = time.monotonic() + RUN_TIMEOUT
    try:
        for program in programs.values():
            program.waits.wait(max(deadline - time.monotonic(), 0.1))
        restart()
        for program in programs.values():
            program.go_on()
    finally:
        deadline = time.monotonic() + RUN_TIMEOUT
        wrong = {name: each.end(max(deadline - time.monotonic(), 0.1)) for name, each in programs.items()}
    failed = {name: what for name, what in wrong.items() if what}
    assert not failed, "\n".join(f"{name}: {what}" for name, what in failed.items())
