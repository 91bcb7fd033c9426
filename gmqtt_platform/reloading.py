"""SIGHUP: read the configuration again, change what can change while the node runs, name what cannot.

A configuration is taken whole or not at all: it is read and checked, asked whether it would lock everybody
out, and only then put into force, in one turn of the loop. Who asks for it meanwhile gets the answer of
another round, which reads the file again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass, replace
from typing import Any, Final

from django.conf import settings

from apps.auth import lockout
from apps.auth.live import Live
from apps.auth.providers.chain import Chain
from apps.auth.providers.console import NAME as CONSOLE
from apps.common.database import DatabaseThread, DatabaseUnavailable
from apps.gateway.broker.limits import Limits
from apps.gateway.operator.maintenance import MaintenanceHandlers
from gmqtt_platform.config import effective
from gmqtt_platform.config.effective import changes, shown_value, source_of
from gmqtt_platform.config.loader import Conf, ConfError, check, load

logger = logging.getLogger(__name__)

# Limits that a part of the node has taken at its start.
_TAKEN: Final = frozenset(
    {"route_cache", "max_retained_messages", "max_retained_bytes", "max_http_connections"}
    | {"max_http_connections_per_address"}
)
# By what the provider chain is made anew.
_CHAIN: Final = frozenset(
    {
        "auth.client",
        "auth.acl",
        "auth.mock",
        "auth.acl_default",
        "auth.allow_anonymous",
        "auth.allow_all_topics",
    }
)
_CHAIN_TABLES: Final = ("auth.guard", "auth.jwt", "auth.x509")
_OTHERS: Final = frozenset(
    {"log.level", "node.drain_rate", "node.server_reference", "console.metrics_token", "console.two_factor"}
)


def is_live(key: str) -> bool:
    """Does a change of it come in force without a restart?"""
    table, _, name = key.rpartition(".")
    if table == "limits":
        return name not in _TAKEN
    return _of_chain(key) or key in _OTHERS


def _of_chain(key: str) -> bool:
    return key in _CHAIN or key.rpartition(".")[0] in _CHAIN_TABLES


def with_keys(conf: Any, new: Any, keys: set[str], table: str = "") -> Any:
    """`conf` with these keys as they are in `new`, and what `new` says of where keys are set."""
    found = {}
    for each in {key.removeprefix(table).partition(".")[0] for key in keys if key.startswith(table)}:
        old = getattr(conf, each)
        inner = is_dataclass(old) and f"{table}{each}" not in keys
        after = getattr(new, each)
        found[each] = with_keys(old, after, keys, f"{table}{each}.") if inner else after
    if isinstance(conf, Conf):
        found |= {"variables": new.variables, "in_file": new.in_file}
    return replace(conf, **found)


class Reloader:
    """Knows the configuration in force, and the one in the file."""

    def __init__(
        self, conf: Conf, limits: Limits, chain: Chain, live: Live, steering: MaintenanceHandlers
    ) -> None:
        self.conf = conf  # in force: as it was at the start, but for what changed live
        self._limits = limits
        self._chain = chain
        self._live = live
        self._steering = steering
        self._database = DatabaseThread("configuration")
        self._waiting: list[str] = []  # keys that need a restart
        self._running: asyncio.Task[dict[str, Any]] | None = None
        self._next: asyncio.Task[dict[str, Any]] | None = None
        self.also: list[Callable[[], object]] = []  # what else is read again, certificates say
        self.error = ""

    def handlers(self) -> dict[str, Callable[..., Any]]:
        return {"config": self.show, "config_diff": self.diff, "config_reload": self.reload}

    def signalled(self) -> None:
        """SIGHUP. What it did is in the log."""
        self._round()

    async def reload(self) -> dict[str, Any]:
        """{"in_force": keys, "needs_restart": keys, "error": "" or why everything stays as it was}."""
        return await asyncio.shield(self._round())

    def _round(self) -> asyncio.Task[dict[str, Any]]:
        """One that begins after this call: the one under way may have read the file already."""
        loop = asyncio.get_running_loop()
        if self._running is None or self._running.done():
            self._running, self._next = loop.create_task(self._reload(), name="reload"), None
            return self._running
        if self._next is None:
            self._next = loop.create_task(self._after(self._running), name="reload")
        return self._next

    async def _after(self, before: asyncio.Task[dict[str, Any]]) -> dict[str, Any]:
        await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._reload()

    async def _reload(self) -> dict[str, Any]:
        try:
            new = await asyncio.to_thread(load)
            changed = changes(self.conf, new)
            live = [key for key in changed if is_live(key)]
            in_force = with_keys(self.conf, new, set(live))
            check(in_force)  # what is new with what stays: an open chain behind a public listener, say
            await self._refuse_lockout(new, live)
            self._apply(in_force, live)
        except ConfError as error:
            self.error = str(error)
            logger.error("the configuration was not read again, the old one stays: %s", error)
            return {"in_force": [], "needs_restart": self._waiting, "error": self.error}
        except Exception as error:
            self.error = f"the new configuration cannot be used: {error}"
            logger.exception("the configuration was not read again, the old one stays")
            return {"in_force": [], "needs_restart": self._waiting, "error": self.error}
        for read in self.also:
            read()
        self.error = ""
        self._waiting = [key for key in changed if key not in live]
        if live:
            logger.info("configuration in force: %s", ", ".join(live))
        if self._waiting:
            logger.warning("configuration that needs a restart: %s", ", ".join(self._waiting))
        if not changed:
            logger.info("configuration read again: nothing has changed")
        return {"in_force": live, "needs_restart": self._waiting, "error": ""}

    async def _refuse_lockout(self, new: Conf, live: list[str]) -> None:
        if not any(map(_of_chain, live)):
            return
        takes_certificates = self.conf.listeners.tls_client_auth != "none"
        try:
            found = await self._database.run(lockout.why, new.auth, takes_certificates, list(self._here()))
        except DatabaseUnavailable as error:
            raise new.error(
                next(key for key in live if _of_chain(key)),
                "a change of who may connect",
                "one while the database answers",
                f"whether it would lock everybody out cannot be told: {error}",
            ) from None
        if found is not None:
            key, reason = found
            hint = "a node that is started with it takes it"
            raise new.error(key, f"what would lock everybody out ({reason})", "a way in for somebody", hint)

    def _here(self) -> Iterator[tuple[str, str]]:
        for acl in self._chain.live.values():
            if acl.identity.provider != CONSOLE:
                yield acl.identity.row, acl.identity.provider

    def _apply(self, conf: Conf, live: list[str]) -> None:
        """What can fail comes first; nothing is waited for, so nobody sees half of it."""
        if any(map(_of_chain, live)):
            self._chain.reconfigure(conf.auth)
            self._live.reconfigured()
        for key in live:
            table, _, name = key.partition(".")
            if table == "limits":
                setattr(self._limits, name, getattr(conf.limits, name))
        if "log.level" in live:
            logging.getLogger().setLevel(conf.log.level.upper())
        self._steering.rate, self._steering.reference = conf.node.drain_rate, conf.node.server_reference
        self.conf = settings.GMQTT = conf  # the console asks it at each request

    # ------------------------------------------------------------ for operators

    def show(self) -> dict[str, Any]:
        """What is in force: {"file", "error", "rows": [{"key", "value", "source", "live", ...}]}."""
        rows = effective.rows(self.conf)
        for row in rows:
            row["live"] = is_live(row["key"])
            row["needs_restart"] = row["key"] in self._waiting
        return {"file": self.conf.file, "error": self.error, "rows": rows}

    async def diff(self) -> dict[str, Any]:
        """What the file and the environment say and is not in force."""
        try:
            new = await asyncio.to_thread(load)
        except ConfError as error:
            return {"file": self.conf.file, "error": str(error), "rows": []}
        return {
            "file": new.file,
            "error": "",
            "rows": [self._difference(new, key) for key in changes(self.conf, new)],
        }

    def _difference(self, new: Conf, key: str) -> dict[str, Any]:
        before, after = shown_value(self.conf, key), shown_value(new, key)
        return {
            "key": key,
            "in_force": before,
            "in_file": f"{after} (another)" if before == after else after,  # of a secret that is hidden
            "source": source_of(new, key),
            "live": is_live(key),
        }

    def status(self) -> dict[str, Any]:
        """For /healthz."""
        return {"ok": not self.error, "error": self.error, "needs_restart": self._waiting}

    def close(self) -> None:
        self._database.close()
