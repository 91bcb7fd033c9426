"""The effective configuration as people read it: each key, its value, and where the value is from."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final

from gmqtt_platform.config.loader import RULES, Conf
from gmqtt_platform.config.values import Address, without_password

HIDDEN: Final = "***"


def value_of(conf: Any, key: str) -> Any:
    """What stands at "table.key", as the process uses it."""
    found = conf
    for name in key.split("."):
        found = getattr(found, name)
    return found


def keys() -> list[str]:
    """Every key there is, in the order of conf.toml."""
    return [f"{table}.{key}" for table, rules in RULES.items() for key in rules]


def source_of(conf: Conf, key: str) -> str:
    """default | file | the variable, whose name ends in _FILE where a file of its own holds the value."""
    return conf.variables.get(key) or ("file" if key in conf.in_file else "default")


def shown_value(conf: Conf, key: str) -> Any:
    """JSON. Of a secret only whether there is one; of a URL with a password everything else."""
    table, _, name = key.rpartition(".")
    value = value_of(conf, key)
    if not RULES[table][name].secret:
        return _plain(value, name)
    if isinstance(value, Mapping):
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, str) and "://" in value:
        return without_password(value)
    return HIDDEN if value else ""


def rows(conf: Conf) -> list[dict[str, Any]]:
    return [{"key": key, "value": shown_value(conf, key), "source": source_of(conf, key)} for key in keys()]


def changes(old: Any, new: Any, table: str = "") -> list[str]:
    """The keys ("table.key") whose values differ."""
    found: list[str] = []
    for each in fields(new):
        if not each.compare:
            continue
        before, after = getattr(old, each.name), getattr(new, each.name)
        name = f"{table}.{each.name}" if table else each.name
        if is_dataclass(after) and not isinstance(after, Address) and is_dataclass(before):
            found += changes(before, after, name)
        elif before != after:
            found.append(name)
    return found


def _plain(value: Any, name: str) -> Any:
    match value:
        case None:
            return ""
        case Address():
            bare = name in ("http", "https", "listen", "advertise", "auth_service", "bridge", "worker")
            return value.netloc if bare else str(value)
        case Path() | ipaddress.IPv4Network() | ipaddress.IPv6Network():
            return str(value)
        case tuple() | list():
            return [_plain(each, name) for each in value]
        case Mapping():
            return {key: _plain(each, name) for key, each in value.items()}
        case _:
            return value
