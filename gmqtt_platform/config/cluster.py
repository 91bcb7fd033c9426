"""The [cluster] table: whether this node is one of several, and how it behaves as such."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gmqtt_platform.config.values import choice, flag, integer, text


def _prefix(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", raw):
        raise ValueError
    return raw


@dataclass(frozen=True, slots=True)
class ClusterConf:
    enabled: bool = flag(False)
    heartbeat: int = integer(1, 1, 2)
    dead_after: int = integer(5, 3, 8)
    policy: str = choice("serve_local", ("serve_local", "fence"))
    prefix: str = text("gmqtt", _prefix, '1 to 64 of: letters, digits, ".", "_", "-"')


def complaint(cluster: ClusterConf) -> tuple[str, str, str] | None:
    """What no single key can tell, as (key, found, allowed); None: all is well.

    A death is noticed two heartbeats after `dead_after` at the latest, which is to be within ten seconds.
    """
    low, high = 3 * cluster.heartbeat, 10 - 2 * cluster.heartbeat
    if not low <= cluster.dead_after <= high:
        allowed = f"{low} to {high} while cluster.heartbeat is {cluster.heartbeat}"
        return "cluster.dead_after", str(cluster.dead_after), allowed
    return None
