"""From which web pages a browser may open an MQTT connection.

A page of any site can make a browser on the broker's network open a WebSocket; only its Origin header, which
no script can set, tells where the page is from. Clients that are no browsers send none, or the broker's own.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

ANY: Final = "*"
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def origin(raw: str) -> str:
    """A web origin in its one spelling, "*" as it is. Raises ValueError."""
    if raw == ANY:
        return raw
    parts = urlsplit(raw)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError
    if parts.path or parts.query or parts.fragment:
        raise ValueError
    return f"{parts.scheme}://{_place(parts.netloc, parts.scheme)}"


class OriginCheck:
    """`knows_host`: is this name (Django's ALLOWED_HOSTS) ours? Else a foreign name that was made to point at
    us (DNS rebinding) would be a page's "same origin". An address cannot be made to point anywhere."""

    def __init__(self, allowed: Collection[str], knows_host: Callable[[str], bool]) -> None:
        self._allowed = frozenset(map(origin, allowed))
        self._knows_host = knows_host

    def permits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Of a handshake, as ASGI has its headers."""
        found: dict[bytes, list[str]] = {b"origin": [], b"host": []}
        for name, value in headers:
            if name in found:
                found[name].append(value.decode("latin-1").strip())
        if not found[b"origin"] or ANY in self._allowed:
            return True
        if len(found[b"origin"]) > 1 or len(found[b"host"]) != 1:
            return False
        try:
            given = origin(found[b"origin"][0].lower())
            scheme, _, place = given.partition("://")
            return given in self._allowed or self._is_same(place, _place(found[b"host"][0].lower(), scheme))
        except ValueError:  # "null" of a sandboxed page or a file, for one
            return False

    def _is_same(self, place: str, host: str) -> bool:
        if place != host:
            return False
        name = host.rpartition(":")[0]
        return _is_address(name) or self._knows_host(name)


def _place(netloc: str, scheme: str) -> str:
    """host:port, the port always there."""
    parts: Any = urlsplit(f"//{netloc}")
    if not parts.hostname or parts.username is not None:
        raise ValueError
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or _PORTS[scheme]}"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
