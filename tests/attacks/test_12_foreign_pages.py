"""Point 12: a web page of another site reaches no broker, whatever the authentication."""

from __future__ import annotations

import pytest

from apps.gateway.http.origins import OriginCheck
from tests.wire.conftest import Start
from tests.wire.raw import V5, RawWebSocket, Refused

FOREIGN = ("https://evil.example", "http://evil.example:{port}", "null", "file://", "http://127.0.0.1:1", "x")


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_of_another_site_is_refused(shared: Start, origin: str) -> None:
    node = shared()
    with pytest.raises(Refused) as refusal:
        RawWebSocket(node.ws, origin=origin.format(port=node.ws))
    assert refusal.value.status in (400, 403)  # 400: what is no origin of a site


def test_dns_rebinding_is_refused(shared: Start) -> None:
    """A foreign name that now points at this machine: the page's Origin and the Host agree."""
    node = shared()
    with pytest.raises(Refused) as refusal:
        RawWebSocket(node.ws, host=f"evil.example:{node.ws}", origin=f"http://evil.example:{node.ws}")
    assert refusal.value.status == 403


def test_our_own_pages_and_clients_that_are_no_browsers(shared: Start) -> None:
    node = shared()
    for host, origin in (
        ("", ""),
        ("broker.example", ""),  # not a browser
        ("", f"http://127.0.0.1:{node.ws}"),
        (f"localhost:{node.ws}", f"http://localhost:{node.ws}"),
        (f"LocalHost:{node.ws}", f"https://localhost:{node.ws}"),  # behind a proxy that ends TLS
        ("192.0.2.7:8000", "http://192.0.2.7:8000"),
    ):
        with RawWebSocket(node.ws, host=host, origin=origin) as client:
            client.connect(V5, "c")


def test_more_sites_can_be_allowed(shared: Start) -> None:
    node = shared(LISTENERS__WEBSOCKET_ORIGINS="https://app.example:443,http://other.example")
    for origin in ("https://app.example", "http://other.example:80"):
        with RawWebSocket(node.ws, origin=origin) as client:
            client.connect(V5, "c")
    with pytest.raises(Refused):
        RawWebSocket(node.ws, origin="http://app.example")


@pytest.mark.parametrize(
    ("origin", "host", "allowed", "permitted"),
    [
        ("https://a", "a", (), True),
        ("https://a", "a:443", (), True),
        ("http://a:443", "a", (), False),
        ("http://a:8000", "b:8000", (), False),
        ("http://b", "b", (), False),  # not a name of ours
        ("http://[::1]:8000", "[::1]:8000", (), True),
        ("http://u@a", "a", (), False),
        ("http://a/x", "a", (), False),
        ("http://a:x", "a", (), False),
        ("null", "null", (), False),
        ("null", "a", ("*",), True),
        ("http://b", "a", ("http://b",), True),
        ("http://b.c", "a", ("http://b",), False),
    ],
)
def test_the_rule(origin: str, host: str, allowed: tuple[str, ...], permitted: bool) -> None:
    check = OriginCheck(allowed, lambda name: name == "a")
    headers = [(b"host", host.encode()), (b"origin", origin.encode())]
    assert check.permits(headers) is permitted


def test_two_origins_or_hosts_are_refused() -> None:
    check = OriginCheck((), lambda name: True)
    assert not check.permits([(b"host", b"a"), (b"origin", b"http://a"), (b"origin", b"http://b")])
    assert not check.permits([(b"host", b"a"), (b"host", b"a"), (b"origin", b"http://a")])
    assert not check.permits([(b"origin", b"http://a")])
