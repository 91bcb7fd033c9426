"""How one configuration value is read: its kind, its parser, and the words for "allowed".

A rule travels in the metadata of a dataclass field, so a key is declared in one line:

    port: int = integer(8080, 1, 65535)

Parsers raise ValueError for a value that is not allowed; `loader` makes it a ConfError, which says where.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent.parent  # of the project, or site-packages
CHECKOUT = (ROOT / "manage.py").exists()
BUNDLE = ROOT / "gmqtt_platform" / "bundle"  # what setup.py puts into a wheel: conf/, core/, webclient/
HOME = ROOT if CHECKOUT else Path.cwd()  # relative paths of the configuration start here

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOSTNAME = re.compile(rf"({_LABEL}\.)*(?!\d+$){_LABEL}")


class BadValue(ValueError):
    """One item of a list is not allowed; `found` is that item."""

    def __init__(self, found: object) -> None:
        super().__init__(str(found))
        self.found = found


@dataclass(frozen=True, slots=True)
class Rule:
    kind: type  # of the value as TOML has it: int, bool, str or list (of strings)
    parse: Callable[[Any], object]
    allowed: str
    secret: bool = False  # may hold a password: never shown as it is

    def read(self, raw: object) -> object:
        """The parsed value of a key in the file; ValueError when it is not allowed."""
        if type(raw) is not self.kind:
            raise BadValue(raw)
        return self.parse(raw)

    def read_text(self, text: str) -> object:
        """The parsed value of an environment variable; ValueError when it is not allowed."""
        raw: object = text
        if self.kind is int:
            raw = int(text)
        elif self.kind is bool:
            raw = {"true": True, "false": False}.get(text, text)
        elif self.kind is list:
            raw = [item.strip() for item in text.split(",")] if text.strip() else []
        elif self.kind is dict:
            raw = json.loads(text)  # its error is a ValueError
        return self.read(raw)

    def show(self, found: object) -> str:
        """`found` in words that are safe to print."""
        if self.secret:
            return (
                json.dumps(without_password(found))
                if isinstance(found, str) and self.kind is str
                else f"a {type(found).__name__}"
            )
        return shown(found)


def shown(found: object) -> str:
    """A value as TOML writes it, cut to a length that fits an error message."""
    if isinstance(found, dict):
        return "a table"
    text = json.dumps(found, default=str, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."


def without_password(url: str) -> str:
    """Everything between the scheme and the last @ hidden, the query too: both can carry a password."""
    return re.sub(r"\?.*", "?***", re.sub(r"^([a-z]+://)?.*@", r"\1***@", url, flags=re.S), flags=re.S)


# ---------------------------------------------------------------- fields


def integer(default: int, low: int, high: int) -> int:
    def parse(raw: int) -> int:
        if not low <= raw <= high:
            raise ValueError
        return raw

    return _field(default, Rule(int, parse, f"an integer from {low} to {high}"))


def flag(default: bool) -> bool:
    return _field(default, Rule(bool, bool, "true or false"))


def choice(default: str, options: Sequence[str]) -> str:
    return _field(default, Rule(str, _one_of(options), " | ".join(options)))


def chain(default: Sequence[str], options: Sequence[str]) -> tuple[str, ...]:
    """At least one of the options, in the order in which they are asked."""
    one = _one_of(options)

    def parse(raw: list[str]) -> tuple[str, ...]:
        if not raw:
            raise ValueError
        return _each(raw, one)

    return _field(tuple(default), Rule(list, parse, f"a list of one or more of: {', '.join(options)}"))


def text(default: str, parse: Callable[[str], T], allowed: str, secret: bool = False) -> T:
    """`default` is written as the file would write it."""

    def parse_text(raw: str) -> T:
        if "\0" in raw:
            raise ValueError
        return parse(raw)

    return _field(parse(default), Rule(str, parse_text, allowed, secret))


def opaque(default: str) -> str:
    """A secret: any text, never shown."""
    return _field(default, Rule(str, str, "text", secret=True))


def file(what: str) -> Path | None:
    """The path of a file, relative to the project's root; "" = None, the default."""
    return text("", lambda raw: HOME / raw if raw else None, f'"" or the path of {what}')


def options() -> Mapping[str, str]:
    """Options for a library, at first none; names with dots may be written as tables. Never shown."""
    allowed = "a table of names with texts, numbers or booleans; in the environment as JSON"
    rule = Rule(dict, lambda raw: dict(_flat(raw, "")), allowed, secret=True)
    return field(default_factory=dict, repr=False, metadata={"rule": rule})


def _flat(table: dict[str, object], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool):
            yield prefix + key, "true" if value else "false"
        elif isinstance(value, str | int | float):
            yield prefix + key, str(value)
        else:
            raise ValueError


def items(default: Sequence[str], parse: Callable[[str], T], allowed: str) -> tuple[T, ...]:
    """`default` is written as the file would write it."""
    return _field(
        _each(default, parse), Rule(list, lambda raw: _each(raw, parse), f"a list, each item {allowed}")
    )


def _field(default: T, rule: Rule) -> T:
    return field(default=default, repr=not rule.secret, metadata={"rule": rule})


def _one_of(options: Sequence[str]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in options:
            raise ValueError
        return raw

    return parse


def _each(raw: Sequence[object], parse: Callable[[str], T]) -> tuple[T, ...]:
    values = []
    for item in raw:
        try:
            if not isinstance(item, str):
                raise ValueError
            values.append(parse(item))
        except ValueError:
            raise BadValue(item) from None
    return tuple(values)


# ---------------------------------------------------------------- names, addresses, networks, URLs


def name(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", raw):
        raise ValueError
    return raw


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. `host` is a name or an IP address (IPv6 without brackets); port 0 = any free one."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}"

    @property
    def netloc(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """False for names other than localhost: what they resolve to is not ours to know."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"


def address(*schemes: str) -> Callable[[str], Address]:
    """A parser of scheme://host:port."""

    def parse(raw: str) -> Address:
        scheme, separator, rest = raw.partition("://")
        if not separator or scheme not in schemes:
            raise ValueError
        return _host_port(scheme, rest)

    return parse


def bare_address(scheme: str) -> Callable[[str], Address | None]:
    """A parser of host:port; "" = None."""
    return lambda raw: _host_port(scheme, raw) if raw else None


def _host_port(scheme: str, raw: str) -> Address:
    host, _, port = raw.rpartition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif not _HOSTNAME.fullmatch(host):
        host = str(ipaddress.IPv4Address(host))
    return Address(scheme, host, int(port))


def network(raw: str) -> Network:
    return ipaddress.ip_network(raw)


def origin(raw: str) -> str:
    """ "scheme://host" or "scheme://host:port", as browsers send it in Origin."""
    parts = urlsplit(raw)
    host = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not host or parts.port == 0:
        raise ValueError
    if parts.path or parts.query or parts.fragment or parts.username or "*" in host:
        raise ValueError
    port = "" if parts.port in (None, {"http": 80, "https": 443}[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def host_of(origin: str) -> str:
    """Its host as Django's ALLOWED_HOSTS has it: IPv6 in brackets, no port."""
    host = urlsplit(origin).hostname or ""
    return f"[{host}]" if ":" in host else host


def url(schemes: Sequence[str], may_be_empty: bool = False) -> Callable[[str], str]:
    """A checker of scheme://[user[:password]@]host[:port]/name; host or name must be there."""

    def parse(raw: str) -> str:
        if may_be_empty and not raw:
            return raw
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not (parts.hostname or parts.path.strip("/")):
            raise ValueError
        _ = parts.port  # raises ValueError when it is not a port
        return raw

    return parse
