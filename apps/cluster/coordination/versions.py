"""Versions of what the processes of a cluster say to each other. docs/upgrading.md has the rules.

A number changes only where a reader of the former one would misunderstand. What may be added without: keys
of JSON tables and hashes, headers of records, parts at the end of a frame, kinds of news, methods of the node
RPC; a reader passes over what it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

PROTOCOL: Final = 1  # what members say to each other over Redis
FORMAT: Final = 1  # how sessions, queues and retained messages stand in Redis
FORMAT_KEY: Final = "format"


class Incompatible(Exception):
    """This version and the cluster's cannot be one cluster. The text says what was found, and where."""


def check_members(said: Mapping[str, Mapping[str, Any]]) -> None:
    """What each member says of itself; who names no version is of the first."""
    others = {name: each.get("protocol", 1) for name, each in said.items()}
    different = sorted(name for name, version in others.items() if version != PROTOCOL)
    if different:
        name = different[0]
        raise Incompatible(f"node {name} speaks version {others[name]}, this program version {PROTOCOL}")


def check_format(found: str) -> None:
    if found != str(FORMAT):
        raise Incompatible(f"Redis holds data of format {found[:20]}, this program reads {FORMAT}")
