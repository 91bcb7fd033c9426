"""SIGHUP: read the configuration again, change what can change while the node runs, name what cannot."""

from __future__ import annotations

import logging
from dataclasses import fields, is_dataclass
from typing import Any, Final

from apps.gateway.broker.limits import Limits
from gmqtt_platform.config.loader import Conf, ConfError, load

logger = logging.getLogger(__name__)

# Limits that a part of the node has taken at its start.
_TAKEN: Final = frozenset(
    {"route_cache", "max_retained_messages", "max_retained_bytes", "max_http_connections"}
    | {"max_http_connections_per_address"}
)


def changes(old: Any, new: Any, table: str = "") -> list[str]:
    """The keys ("table.key") whose values differ."""
    found: list[str] = []
    for each in fields(new):
        if not each.compare:
            continue
        before, after = getattr(old, each.name), getattr(new, each.name)
        name = f"{table}.{each.name}" if table else each.name
        if is_dataclass(after) and not isinstance(after, type) and is_dataclass(before):
            found += changes(before, after, name) if type(before) is type(after) else [name]
        elif before != after:
            found.append(name)
    return found


def _is_live(key: str) -> bool:
    table, _, name = key.partition(".")
    return key == "log.level" or (table == "limits" and name not in _TAKEN)


class Reloader:
    """Knows the configuration in force."""

    def __init__(self, conf: Conf, limits: Limits) -> None:
        self.conf = conf
        self._started = conf  # what needs a restart is as it stands here
        self._limits = limits
        self._pending: list[str] = []  # keys that need a restart
        self.error = ""

    def reload(self) -> None:
        """An error leaves everything as it was."""
        try:
            new = load()
        except ConfError as error:
            self.error = str(error)
            logger.error("the configuration was not read again, the old one stays: %s", error)
            return
        self.error = ""
        changed = changes(self.conf, new)
        live = [key for key in changed if self._apply(key, new)]
        waiting = [key for key in changes(self._started, new) if not _is_live(key)]
        if live:
            logger.info("configuration in force: %s", ", ".join(live))
        if waiting:
            logger.warning("configuration that needs a restart: %s", ", ".join(waiting))
        if not changed:
            logger.info("configuration read again: nothing has changed")
        self._pending = waiting
        self.conf = new

    def _apply(self, key: str, new: Conf) -> bool:
        if not _is_live(key):
            return False
        if key == "log.level":
            logging.getLogger().setLevel(new.log.level.upper())
        else:
            name = key.partition(".")[2]
            setattr(self._limits, name, getattr(new.limits, name))
        return True

    def status(self) -> dict[str, Any]:
        """For /healthz."""
        return {"ok": not self.error, "error": self.error, "needs_restart": self._pending}
