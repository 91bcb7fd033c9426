"""A node in a process of its own, on ports of the system's choice."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from gmqtt_platform.config.values import ROOT

START_TIMEOUT = 20.0  # seconds
TROUBLE = re.compile(r"Traceback|^\S+ \S+ (ERROR|CRITICAL)|Exception|Warning", re.MULTILINE)


def environment(data_dir: Path, **settings: str) -> dict[str, str]:
    """What a node is started with: `settings` by their names without GMQTT_, ports of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GMQTT_")}
    if os.environ.get("GMQTT_PURE_PYTHON"):
        clean["GMQTT_PURE_PYTHON"] = os.environ["GMQTT_PURE_PYTHON"]
    defaults = {
        "NODE__DATA_DIR": str(data_dir),
        "LISTENERS__TCP": "tcp://127.0.0.1:0",
        "LISTENERS__HTTP": "127.0.0.1:0",
    }
    return clean | {f"GMQTT_{name}": value for name, value in (defaults | settings).items()}


def manage(data_dir: Path, *arguments: str) -> None:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    subprocess.run(command, env=environment(data_dir), check=True, timeout=180)


def migrate(data_dir: Path) -> None:
    manage(data_dir, "migrate", "-v0")


class Node:
    """Listens once the constructor is through. `stop` it, or use it as a context manager."""

    def __init__(
        self,
        data_dir: Path,
        template: Path | None = None,
        command: tuple[str, ...] = (str(ROOT / "manage.py"), "rungateway"),
        **settings: str,
    ) -> None:
        """`template`: a migrated data directory to begin with a copy of. `command`: Python's arguments."""
        if template is not None:
            shutil.copytree(template, data_dir)
        self.data_dir = data_dir
        self._log = data_dir.parent / f"{data_dir.name}.log"
        self.tcp = self.tls = self.ws = self.wss = 0  # ports; 0: not listening
        self.path = "/mqtt"
        self.quiet = True  # its log is to hold nothing that an operator would have to look at
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                env=environment(data_dir, **settings),
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.output = self._announced()

    def _announced(self) -> str:
        """Read what it prints until the last of its lines; learn the ports from them."""
        assert self.process.stdout is not None
        text = ""
        for line in self.process.stdout:
            text += line
            if line.startswith("Core"):
                break
        else:
            raise AssertionError(f"the node ended with {self.stop()}: {text}{self.log()}")
        for scheme, port in re.findall(r"(tcp|mqtts|wss?)://[^/\s]*:(\d+)", text):
            setattr(self, "tls" if scheme == "mqtts" else scheme, int(port))
        return text

    def log(self) -> str:
        return self._log.read_text()

    def trouble(self) -> str:
        """What should not be in the log, and what stands around it."""
        text = self.log()
        found = TROUBLE.search(text)
        return text[max(found.start() - 1000, 0) : found.start() + 4000] if found else ""

    def rss(self) -> int:
        """Bytes of memory that the process occupies."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def peak(self) -> int:
        """The most that `rss` was since `forget_peak`, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024

    def forget_peak(self) -> None:
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def sockets(self) -> int:
        """The number of its open sockets. Its databases open and close files as they like."""
        count = 0
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                count += os.readlink(descriptor).startswith("socket:")
        return count

    def cpu(self) -> float:
        """Seconds of CPU time used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int = signal.SIGINT) -> None:
        self.process.send_signal(number)

    def wait(self, timeout: float) -> int:
        """Its exit code, within `timeout` seconds."""
        return self.process.wait(timeout)

    def stop(self) -> int | None:
        """Stop it, gently if it can be done; its exit code, or None where it had to be killed."""
        try:
            if self.process.poll() is None:
                self.signal()
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()

    def __enter__(self) -> Node:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def until(condition: object, timeout: float = 5.0, what: str = "it did not happen in time") -> None:
    """Wait until `condition()` is true."""
    assert callable(condition)
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
