"""Who is at the other end of an HTTP connection: the one place that reads forwarded headers.

A request of a trusted proxy says in `Forwarded` (RFC 7239) or `X-Forwarded-For`, `-Proto` and `-Host` for
whom it comes. The client is the last address in that list that is not itself a trusted proxy: what stands
before it was written by somebody who is not trusted. Where the connection began with a PROXY header the peer
is whom that names, for whoever it is wrote these headers: they are believed if that, too, is a trusted proxy.
Nobody behind this module sees these headers; of a peer
that is no trusted proxy they are ignored.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from apps.gateway.net.proxy import Network, plain, trusted

Application = Callable[[dict[str, Any], Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Any]

FORWARDING: Final = frozenset(
    (
        *(b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port"),
        *(b"x-forwarded-ssl", b"x-forwarded-scheme", b"x-real-ip"),
    )
)
PROXIED: Final = "gmqtt.proxied"  # in the scope: `client` is what a trusted proxy said
VIA_PROXY: Final = "gmqtt.via_proxy"  # in the scope: did the peer say that it speaks for others?
_SECURE: Final = {"http": "https", "ws": "wss"}
_PLAIN: Final = {"https": "http", "wss": "ws"}
_PAIR: Final = re.compile(r"""\s*([A-Za-z]+)=(?:"([^"]*)"|([^\s;,"]*))\s*""")
_ELEMENT: Final = re.compile(r"""(?:[^,"]|"[^"]*"?)+""")
_HOST: Final = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")


class BehindProxies:
    """An ASGI application that sees clients as they are, also through the proxies in `trusted`.

    `standard`: the proxies write `Forwarded`; else X-Forwarded-*. Only the one that they write is believed,
    for they hand on the other as a client wrote it.
    """

    def __init__(self, application: Application, trusted: Sequence[Network], standard: bool = False) -> None:
        self._application = application
        self._trusted = tuple(trusted)
        self._standard = standard

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
        hops = _standard(given) if self._standard else _customary(given)
        address, port, scheme, host = self._client(hops)
        if address:
            seen["client"] = [address, port]
            seen[PROXIED] = True
        if scheme in ("http", "https"):
            current = scope.get("scheme", "http")
            change = _SECURE if scheme == "https" else _PLAIN
            seen["scheme"] = change.get(current, current)
        if host and _HOST.fullmatch(host):
            others = [(name, value) for name, value in headers if name != b"host"]
            seen["headers"] = [*others, (b"host", host.encode())]
        return seen

    def _is_trusted(self, address: str) -> bool:
        return trusted(address, self._trusted)

    def _client(self, hops: list[Hop]) -> tuple[str, int, str, str]:
        """(address, port, scheme, host) by the last hop that is no trusted proxy, else by the first."""
        for index, hop in enumerate(reversed(hops)):
            address, port = _address(hop.client)
            if not address or not self._is_trusted(address) or index == len(hops) - 1:
                return address, port, hop.scheme, hop.host
        return "", 0, "", ""


class Hop(NamedTuple):
    """What one proxy wrote."""

    client: str  # who connected to it
    scheme: str = ""
    host: str = ""


def _standard(given: dict[bytes, list[str]]) -> list[Hop]:
    """`Forwarded` (RFC 7239), each element with what stands in it alone."""
    hops = []
    for element in _ELEMENT.findall(",".join(given.get(b"forwarded", []))):
        pairs = {name.lower(): quoted or plain for name, quoted, plain in _PAIR.findall(element)}
        hops.append(Hop(pairs.get("for", ""), pairs.get("proto", "").lower(), pairs.get("host", "")))
    return hops


def _customary(given: dict[bytes, list[str]]) -> list[Hop]:
    """X-Forwarded-For; scheme and host as the nearest proxy wrote them."""
    hops = [each.strip() for each in ",".join(given.get(b"x-forwarded-for", [])).split(",") if each.strip()]
    scheme = _last(given.get(b"x-forwarded-proto")).lower()
    host = _last(given.get(b"x-forwarded-host"))
    return [Hop(hop, scheme, host) for hop in hops] or [Hop("", scheme, host)]


def _last(values: list[str] | None) -> str:
    """What the nearest proxy wrote."""
    return ",".join(values or [""]).split(",")[-1].strip()


def _address(hop: str) -> tuple[str, int]:
    """(address, port) of 192.0.2.1, 192.0.2.1:4711, 2001:db8::1 or [2001:db8::1]:4711; port 0: not said."""
    text, port = hop, ""  # HAProxy with one socket for both families writes ::ffff:192.0.2.1
    if hop.startswith("["):
        text, _, port = hop[1:].partition("]")
        port = port.removeprefix(":")
    elif hop.count(":") == 1:
        text, _, port = hop.partition(":")
    try:
        return plain(str(ipaddress.ip_address(text))), int(port) if port.isdecimal() and int(
            port
        ) < 65_536 else 0
    except ValueError:
        return "", 0
