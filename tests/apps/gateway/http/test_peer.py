"""Whose headers are believed, and what they say."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any

import pytest

from apps.gateway.http.peer import VIA_PROXY, BehindProxies

TRUSTED = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")]
PROXY = "10.0.0.1"


def seen(
    peer: str, headers: dict[str, str], scheme: str = "http", kind: str = "http", standard: bool = False
) -> dict[str, Any]:
    """The scope as the application gets it."""
    found: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        found.append(scope)

    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "scheme": scheme, "client": [peer, 4711], "headers": raw}
    asyncio.run(BehindProxies(application, TRUSTED, standard)(scope, None, None))
    return found[0]


def header(scope: dict[str, Any], name: bytes) -> list[bytes]:
    return [value for each, value in scope["headers"] if each == name]


CUSTOMARY = [
    ({"X-Forwarded-For": "203.0.113.7"}, "203.0.113.7"),
    ({"X-Forwarded-For": "203.0.113.7:4712"}, "203.0.113.7"),
    ({"X-Forwarded-For": "6.6.6.6, 203.0.113.7"}, "203.0.113.7"),  # what came first was the client's own word
    ({"X-Forwarded-For": "6.6.6.6, 203.0.113.7, 10.1.2.3"}, "203.0.113.7"),  # through two proxies
    ({"X-Forwarded-For": "10.9.9.9, 10.1.2.3"}, "10.9.9.9"),  # from inside
    ({"X-Forwarded-For": "[2001:db8::7]:99"}, "2001:db8::7"),
    ({"X-Forwarded-For": "2001:db8::7"}, "2001:db8::7"),
    ({"X-Forwarded-For": "::ffff:203.0.113.7"}, "203.0.113.7"),  # HAProxy, one socket for both families
    ({"X-Forwarded-For": "not an address"}, PROXY),
    ({"X-Forwarded-For": "6.6.6.6, unknown"}, PROXY),  # not what stands behind it
    ({"X-Forwarded-For": ""}, PROXY),
    ({}, PROXY),
    ({"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=127.0.0.1"}, "203.0.113.7"),  # a client's own
]
STANDARD = [
    ({"Forwarded": "for=203.0.113.7"}, "203.0.113.7"),
    ({"Forwarded": 'For="[2001:db8::7]:4711";proto=https'}, "2001:db8::7"),
    ({"Forwarded": "for=6.6.6.6, for=203.0.113.7;by=10.0.0.1"}, "203.0.113.7"),
    ({"Forwarded": "for=_hidden"}, PROXY),
    ({"Forwarded": "for=203.0.113.7", "X-Forwarded-For": "127.0.0.1"}, "203.0.113.7"),
    ({"Forwarded": 'for="6.6.6.6, for=127.0.0.1"'}, PROXY),  # one element, and no address
    ({"Forwarded": 'for=203.0.113.7;ext="a,for=127.0.0.1"'}, "203.0.113.7"),
]


@pytest.mark.parametrize(("headers", "address"), CUSTOMARY)
def test_the_client_behind_a_trusted_proxy(headers: dict[str, str], address: str) -> None:
    assert seen(PROXY, headers)["client"][0] == address


@pytest.mark.parametrize(("headers", "address"), STANDARD)
def test_the_client_behind_a_proxy_that_writes_forwarded(headers: dict[str, str], address: str) -> None:
    assert seen(PROXY, headers, standard=True)["client"][0] == address


def test_each_element_speaks_for_itself() -> None:
    said = "for=6.6.6.6;proto=https;host=localhost, for=203.0.113.7"
    scope = seen(PROXY, {"Host": "inner", "Forwarded": said}, standard=True)
    assert (scope["client"][0], scope["scheme"]) == ("203.0.113.7", "http")
    assert header(scope, b"host") == [b"inner"]
    own = seen(PROXY, {"Forwarded": "for=203.0.113.7;proto=https;host=a.example"}, standard=True)
    assert own["scheme"] == "https" and header(own, b"host") == [b"a.example"]


@pytest.mark.parametrize("peer", ["203.0.113.9", "2001:db8::9", "", "no address"])
def test_forged_headers_are_ignored(peer: str) -> None:
    forged = {
        "Host": "real",
        "X-Forwarded-For": "127.0.0.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=127.0.0.1;proto=https;host=evil.example",
    }
    scope = seen(peer, forged)
    assert scope["client"][0] == peer and scope["scheme"] == "http"
    assert header(scope, b"host") == [b"real"]
    assert scope["headers"] == [(b"host", b"real")]  # nobody else can believe them
    assert scope[VIA_PROXY]


@pytest.mark.parametrize(
    ("kind", "scheme", "said", "found"),
    [
        ("http", "http", "https", "https"),
        ("http", "https", "http", "http"),
        ("websocket", "ws", "https", "wss"),
        ("websocket", "ws", "http", "ws"),
        ("http", "http", "gopher", "http"),
        ("http", "http", "http, https", "https"),  # the nearest proxy's
    ],
)
def test_the_scheme(kind: str, scheme: str, said: str, found: str) -> None:
    assert seen(PROXY, {"X-Forwarded-Proto": said}, scheme, kind)["scheme"] == found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("mqtt.example.com", b"mqtt.example.com"),
        ("mqtt.example.com:8443", b"mqtt.example.com:8443"),
        ("a.example, mqtt.example.com", b"mqtt.example.com"),
        ("evil.example/path", b"inner"),
        ("a b", b"inner"),
    ],
)
def test_the_host(said: str, found: bytes) -> None:
    assert header(seen(PROXY, {"Host": "inner", "X-Forwarded-Host": said}), b"host") == [found]


def test_an_ipv4_peer_on_a_dual_stack_socket() -> None:
    assert seen("::ffff:10.0.0.1", {"X-Forwarded-For": "203.0.113.7"})["client"][0] == "203.0.113.7"
