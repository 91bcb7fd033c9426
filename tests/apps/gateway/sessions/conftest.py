from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.gateway.broker.limits import Limits
from apps.gateway.sessions.sqlite import SqliteStore
from tests.apps.gateway.support.world import World


class Inline:
    """A worker whose jobs run at once and are answered when the test says so."""

    def __init__(self) -> None:
        self.answers: list[Callable[[], None]] = []
        self.timers: list[Callable[[], None]] = []

    def run(self, job: Callable[[], Any], answered: Callable[[Any], None]) -> None:
        found = job()
        self.answers.append(lambda: answered(found))

    def later(self, delay: float, call: Callable[[], None]) -> None:
        self.timers.append(call)

    def stop(self) -> None:
        pass


class StoredWorld(World):
    """A node with a session store. `slow`: transactions are answered by `commit` only."""

    def __init__(self, path: Path, slow: bool = False, **limits: Any) -> None:
        super().__init__(Limits(**limits))
        self.path = path
        self.slow = slow
        self.worker = Inline()
        self.store = SqliteStore(path, self.node, self.worker)  # type: ignore[arg-type]
        self.store.restore(self.now)
        self.turn()

    def turn(self) -> None:
        super().turn()
        while self.worker.answers and not self.slow:
            self._answer()
            super().turn()

    def _answer(self) -> None:
        self.worker.answers.pop(0)()

    def commit(self) -> None:
        """What is written is answered; what follows is written."""
        self._answer()
        World.turn(self)

    def wait(self) -> None:
        """Timers go off."""
        timers, self.worker.timers = self.worker.timers, []
        for call in timers:
            call()
        self.turn()

    def crash(self, **limits: Any) -> StoredWorld:
        """The same node in a new process, which finds what is in the file now."""
        copy = self.path.with_name(f"{self.path.name}.next")
        for suffix in ("", "-wal"):
            file = Path(f"{self.path}{suffix}")
            if file.exists():
                shutil.copy(file, f"{copy}{suffix}")
        self.store.database.close()
        return StoredWorld(copy, **limits)


Stored = Callable[..., StoredWorld]


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    made: list[StoredWorld] = []

    def start(slow: bool = False, **limits: Any) -> StoredWorld:
        world = StoredWorld(tmp_path / f"{len(made)}.sqlite3", slow, **limits)
        made.append(world)
        return world

    return start
