"""Who is at the other end of an HTTP connection: the one place that reads forwarded headers.

A request of a trusted proxy says in `Forwarded` (RFC 7239) or `X-Forwarded-For`, `-Proto` and `-Host` for
whom it comes. The client is the last address in that list that is not itself a trusted proxy: what stands
before it was written by somebody who is not trusted. Nobody behind this module sees these headers; of a peer
that is no trusted proxy they are ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Application = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]

FORWARDING: Final = frozenset(
    (
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        *(b"x-forwarded-ssl", b"x-forwarded-scheme", b"x-real-ip"),
    )
)
VIA_PROXY: Final = "gmqtt.via_proxy"  # in the scope: did the peer say that it speaks for others?
_SECURE: Final = {"http": "https", "ws": "wss"}
_PLAIN: Final = {"https": "http", "wss": "ws"}
_PAIR: Final = re.compile(r"""\s*([A-Za-z]+)=(?:"([^"]*)"|([^\s;,"]*))\s*""")
_HOST: Final = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")


class BehindProxies:
    """An ASGI application that sees clients as they are, also through the proxies in `trusted`."""

    def __init__(self, application: Application, trusted: Sequence[Network]) -> None:
        self._application = application
        self._trusted = tuple(trusted)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = self._seen(scope)
        await self._application(scope, receive, send)

    def _seen(self, scope: dict[str, Any]) -> dict[str, Any]:
        given: dict[bytes, list[str]] = {}
        headers = []
        for name, value in scope["headers"]:
            if name in FORWARDING:
                given.setdefault(name, []).append(value.decode("latin-1"))
            else:
                headers.append((name, value))
        peer = scope.get("client")
        seen = {**scope, "headers": headers, VIA_PROXY: bool(given)}
        if not given or not peer or not self._is_trusted(peer[0]):
            return seen
        hops, scheme, host = _forwarded(given)
        address, port = self._client(hops)
        if address:
            seen["client"] = [address, port]
        if scheme in ("http", "https"):
            current = scope.get("scheme", "http")
            change = _SECURE if scheme == "https" else _PLAIN
            seen["scheme"] = change.get(current, current)
        if host and _HOST.fullmatch(host):
            others = [(name, value) for name, value in headers if name != b"host"]
            seen["headers"] = [*others, (b"host", host.encode())]
        return seen

    def _is_trusted(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(found, "ipv4_mapped", None)
        return any((mapped or found) in network for network in self._trusted)

    def _client(self, hops: list[str]) -> tuple[str, int]:
        """The last hop that is no trusted proxy, or the first of all; "" where that is no address."""
        for index, hop in enumerate(reversed(hops)):
            address, port = _address(hop)
            if not address or not self._is_trusted(address) or index == len(hops) - 1:
                return address, port
        return "", 0


def _forwarded(given: dict[bytes, list[str]]) -> tuple[list[str], str, str]:
    """(hops, the client's first, scheme, host) by `Forwarded`, where it is there, else by the others."""
    if b"forwarded" in given:
        hops: list[str] = []
        scheme = host = ""
        for element in ",".join(given[b"forwarded"]).split(","):
            pairs = {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(element)}
            hops.append(pairs.get("for", ""))
            scheme = pairs.get("proto", scheme).lower()
            host = pairs.get("host", host)
        return hops, scheme, host
    hops = [each.strip() for each in ",".join(given.get(b"x-forwarded-for", [])).split(",") if each.strip()]
    scheme = _last(given.get(b"x-forwarded-proto")).lower()
    return hops, scheme, _last(given.get(b"x-forwarded-host"))


def _last(values: list[str] | None) -> str:
    """What the nearest proxy wrote."""
    return ",".join(values or [""]).split(",")[-1].strip()


def _address(hop: str) -> tuple[str, int]:
    """(address, port) of 192.0.2.1, 192.0.2.1:4711, 2001:db8::1 or [2001:db8::1]:4711; port 0: not said."""
    text, port = hop, ""
    if hop.startswith("["):
        text, _, port = hop[1:].partition("]")
        port = port.removeprefix(":")
    elif hop.count(":") == 1:
        text, _, port = hop.partition(":")
    try:
        return str(ipaddress.ip_address(text)), int(port) if port.isdecimal() and int(port) < 65_536 else 0
    except ValueError:
        return "", 0
