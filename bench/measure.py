"""One measurement: what a run cost the broker, and what it delivered."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass, field
from typing import Final

from .probe import cpu_seconds, machine_seconds
from .verify import Faults

QUIET: Final = 20e-6  # seconds of CPU in one look of LOOK seconds: the broker has finished
LOOK: Final = 0.02
SETTLE: Final = 2.0  # seconds after which its CPU time is read anyway


@dataclass
class Sample:
    """One round of one scenario against one broker."""

    cpu_us: float  # broker CPU per message in + out (S10: per connect; R1: per message out)
    rate: float  # messages in + out per second (S10: connects)
    broker_busy: float | None  # its CPU time / wall time; None: there is no broker (T1)
    generator_busy: float | None
    others_busy: float | None  # everything else on the machine: above a few percent, distrust the figures
    pss: int  # bytes, at the end, all connections open
    p50_ms: float | None = None
    p99_ms: float | None = None
    faults: Faults = field(default_factory=Faults)
    extra: dict[str, float] = field(default_factory=dict)  # what only this kind of scenario has


class Meter:
    """Broker CPU and wall time between ``with`` and ``stop``; garbage collection waits meanwhile."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> Meter:
        gc.collect()
        gc.disable()
        self._machine = machine_seconds()
        self._own = time.process_time()
        self._cpu = cpu_seconds(self._pid)
        self._wall = time.perf_counter()
        return self

    def stop(self) -> None:
        """Everything is delivered. What the broker still owes to it (last acknowledgements) counts as CPU."""
        self.seconds = time.perf_counter() - self._wall
        machine = machine_seconds() - self._machine
        self.generator_cpu = time.process_time() - self._own
        end = time.monotonic() + SETTLE
        before = cpu_seconds(self._pid)
        self.broker_busy = (before - self._cpu) / self.seconds
        rest = machine - self.generator_cpu - (before - self._cpu)
        self.others_busy = max(0.0, rest) / self.seconds
        while time.monotonic() < end:
            time.sleep(LOOK)
            now = cpu_seconds(self._pid)
            if now - before < QUIET:
                break
            before = now
        self.broker_cpu = cpu_seconds(self._pid) - self._cpu

    def __exit__(self, *_: object) -> None:
        gc.enable()

    def sample(self, messages: int, pss: int) -> Sample:
        return Sample(
            cpu_us=self.broker_cpu / messages * 1e6,
            rate=messages / self.seconds,
            broker_busy=self.broker_busy,
            generator_busy=self.generator_cpu / self.seconds,
            others_busy=self.others_busy,
            pss=pss,
        )
