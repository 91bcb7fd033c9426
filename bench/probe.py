"""What a process costs: CPU time to the nanosecond, memory as PSS; and who runs on which core."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Final

_CORES: Final = sorted(os.sched_getaffinity(0))
GENERATOR_CPU: Final = _CORES[0]
BROKER_CPU: Final = _CORES[-1]  # the same one on a one-core machine


def pin(core: int) -> None:
    os.sched_setaffinity(0, {core})


def raise_file_limit() -> int:
    """Open files allowed from now on, here and in the brokers started from here."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of a process, from its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def machine_seconds() -> float:
    """CPU time that the whole machine has spent on anything, in steps of a clock tick."""
    user, nice, system, _idle, _wait, *rest = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return sum(map(int, (user, nice, system, *rest))) / os.sysconf("SC_CLK_TCK")


def written_bytes(pid: int) -> int:
    """That the process has handed to the system to be written, to files and sockets."""
    fields = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
    return int(fields["wchar"])


def pss_bytes(pid: int) -> int:
    """Proportional set size: shared pages count by their share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no Pss in /proc/{pid}/smaps_rollup")
