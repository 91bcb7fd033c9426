"""What has to be right before a process says that it is ready: the database's schema and the clock.

A schema of another version and a clock that cannot be right end the process with 2. A database that does not
answer does not: the node serves whom it can without, and is not ready until the schema was looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, connection, connections
from django.db.migrations.executor import MigrationExecutor

from apps.common.database import DatabaseThread, DatabaseUnavailable
from gmqtt_platform import __date__
from gmqtt_platform.config.loader import ConfError
from gmqtt_platform.config.values import CHECKOUT

logger = logging.getLogger(__name__)

FAR: Final = 30.0  # seconds that clocks of one cluster may differ; questions between nodes are good for 3
RETRY: Final = 2.0  # seconds until what was not right at the start is looked at again
LOOK: Final = 60.0  # seconds between looks at the clock
NAMED: Final = 3  # migrations in a message

MIGRATE: Final = "manage.py migrate" if CHECKOUT else "gmqtt migrate"
SET_CLOCK: Final = "set this machine's clock (chronyc makestep, or timedatectl set-ntp true)"


def check(now: float | None = None) -> str:
    """Before anything listens: ConfError for what cannot go right. "", or why the database is unknown."""
    early = before_release(time.time() if now is None else now)
    if early:
        raise ConfError("clock", "", early, f"a time after this version's release, {__date__}", SET_CLOCK)
    try:
        check_schema()
        ahead = database_ahead()
    except (DatabaseError, InterfaceError) as error:
        return f"the database does not answer: {_line(error)}"
    finally:
        connections.close_all()
    if abs(ahead) > FAR:
        raise ConfError(
            "clock", "", skewed("the database", ahead), f"at most {FAR:g} s between them", SET_CLOCK
        )
    return ""


def check_schema() -> None:
    """ConfError unless the database has this version's migrations, and no others."""
    executor = MigrationExecutor(connection)
    loader = executor.loader
    known = set(loader.disk_migrations) | {
        replaced for each in loader.disk_migrations.values() for replaced in each.replaces
    }
    ours = {app for app, _ in known}
    newer = sorted(key for key in loader.applied_migrations if key[0] in ours and key not in known)
    if newer:
        allowed = "the schema of this version; run the version that made it, or restore an older backup"
        raise ConfError("database", "", f"a newer schema than this program's ({_named(newer)})", allowed)
    # All of them, not only what the last ones need: a row may be missing below one that is there.
    wanted = executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True)
    names = [(each.app_label, each.name) for each, _ in wanted]
    missing = [name for name in names if name not in loader.applied_migrations]
    if missing:
        found = f"{len(missing)} migrations that are not applied ({_named(missing)})"
        raise ConfError("database", "", found, "the schema of this version", f"run: {MIGRATE}")


def _named(migrations: list[tuple[str, str]]) -> str:
    names = [f"{app}.{name}" for app, name in migrations[:NAMED]]
    return ", ".join(names) + (", ..." if len(migrations) > NAMED else "")


def before_release(now: float) -> str:
    """How a clock is absurd that shows a time before this version was made; "": it is not."""
    found = datetime.fromtimestamp(now, UTC)
    return found.strftime("%Y-%m-%d %H:%M") if found.date().isoformat() < __date__ else ""


def database_ahead() -> float:
    """Seconds by which the database server's clock is ahead of ours; SQLite has none of its own."""
    if connection.vendor != "postgresql":
        return 0.0
    before = time.time()
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp())")
        theirs = float(cursor.fetchone()[0])
    return theirs - (before + time.time()) / 2


def skewed(whose: str, ahead: float) -> str:
    return f"a clock {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} that of {whose}"


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


class Startup:
    """Why the node is not ready yet, and whether its clock has gone wrong since."""

    def __init__(self, unknown: str, redis_ahead: Callable[[], float | None] | None) -> None:
        """`unknown`: what `check` answered. `redis_ahead`: as `database_ahead`, for a node of a cluster."""
        self._unknown = unknown
        self._redis_ahead = redis_ahead
        self._database = DatabaseThread("startup")
        self._reported = ""
        self._clock = ""  # what is wrong with it
        self._begun = not unknown and redis_ahead is None  # was the node ready once?

    def problem(self) -> str:
        """For /readyz. A node that was ready stays so: one clock that jumps must not take all nodes away."""
        return "" if self._begun else self._unknown or self._clock

    def status(self) -> dict[str, Any]:
        """For /healthz."""
        return {"ok": not (self._unknown or self._clock), "database": self._unknown, "clock": self._clock}

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self.look()
                self._begun = self._begun or not (self._unknown or self._clock)
                await asyncio.sleep(LOOK if self._begun else RETRY)
        finally:
            self._database.close()

    async def look(self) -> None:
        aheads = [("Redis", self._redis_ahead() if self._redis_ahead is not None else None)]
        with contextlib.suppress(DatabaseUnavailable):  # that it is away, others say
            try:
                if self._unknown:
                    await self._database.run(check_schema)
                aheads.append(("the database", await self._database.run(database_ahead)))
                self._unknown = ""
            except ConfError as error:
                self._unknown = str(error)
        wrong = [skewed(whose, ahead) for whose, ahead in aheads if ahead is not None and abs(ahead) > FAR]
        early = before_release(time.time())
        self._clock = f"a clock that says {early}" if early else " and ".join(wrong)
        said = self._unknown or self._clock
        if said != self._reported:
            self._reported = said
            if said:
                hint = f"; {SET_CLOCK}" if self._clock and not self._unknown else ""
                logger.error("not as it should be: %s%s", said, hint)
            else:
                logger.info("database and clock are as they should be")
