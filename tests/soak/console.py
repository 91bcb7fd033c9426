"""An operator at the console: the sign-in, pages of the admin, and the dashboard's live feed."""

from __future__ import annotations

import http.cookiejar
import random
import urllib.parse
import urllib.request

from tests.wire.nodes import Node
from tests.wire.raw import RawWebSocket

NAME, PASSWORD = "soak-operator", "a long password for the soak"
PAGES = (
    "",
    "cluster/sessioninfo/",
    "cluster/sessioninfo/topics/",
    "cluster/sessioninfo/slow/",
    "cluster/clusternode/",
    "mqtt_auth/client/",
    "auth/user/",
)
SAMPLES = 3  # of the feed, one a second


class Console:
    def __init__(self, node: Node) -> None:
        self._node = node
        self._cookies = http.cookiejar.CookieJar()
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._cookies))

    def look(self, chance: random.Random, number: int) -> None:
        """Sign in, look at each page and at the feed, sign out by forgetting."""
        self._cookies.clear()
        self._get("login/")
        fields = {"username": NAME, "password": PASSWORD, "next": "/admin/"}
        fields["csrfmiddlewaretoken"] = self._cookie("csrftoken")
        self._get("login/", urllib.parse.urlencode(fields).encode())
        cookie = "; ".join(f"{each.name}={each.value}" for each in self._cookies)
        origin = f"http://127.0.0.1:{self._node.ws}"
        feed = RawWebSocket(
            self._node.ws,
            None,
            "/console/feed/",
            "",
            origin=origin,
            headers=(f"Cookie: {cookie}",),
            timeout=30.0,
        )
        for page in PAGES:
            assert "login" not in self._get(page), page
        for _ in range(SAMPLES):
            assert feed.sock.recv(65_536)
        feed.close()

    def _cookie(self, name: str) -> str:
        return next(str(each.value) for each in self._cookies if each.name == name)

    def _get(self, page: str, data: bytes | None = None) -> str:
        """Where it led to."""
        with self._open.open(f"http://127.0.0.1:{self._node.ws}/admin/{page}", data, timeout=30) as answer:
            answer.read()
            return str(answer.geturl())
