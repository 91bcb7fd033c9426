"""Every page that can be reached by links, opened in Chromium as a superuser: nothing on it fails.

The pages are found by walking, not by a list: one that is added is tested by the link to it.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from urllib.parse import urldefrag, urljoin, urlsplit

import aiomqtt
import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page, Request, Response

from tests.browser import pages
from tests.browser.pages import in_a_browser
from tests.wire.nodes import Node

pytestmark = in_a_browser

LOGOUT = "/admin/logout/"


def kind(url: str) -> str:
    """What pages that differ by numbers, names or the choice of rows only have in common."""
    split = urlsplit(url)
    path = re.sub(r"/(\d+|[^/]*[:%=][^/]*)(?=/|$)", "/N", split.path)
    path = re.sub(r"^/docs/.*", "/docs/N", path)  # tests/browser/test_docs.py opens more of them
    chosen = split.query and not split.query.startswith("_changelist_filters=")
    return f"{path}?" if chosen else path


class Visit:
    """What happens while a page is open."""

    def __init__(self, page: Page) -> None:
        self.wrong: list[str] = []
        page.on("pageerror", lambda error: self.wrong.append(f"script error: {error}"))
        page.on("console", self._said)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _said(self, message: object) -> None:
        kind, text = getattr(message, "type", ""), getattr(message, "text", "")
        if kind == "error" or "Content Security Policy" in text:
            self.wrong.append(f"console: {text}")

    def _failed(self, request: Request) -> None:
        # Who leaves a page ends what it still loads, and a download is not a page.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self.wrong.append(f"{request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self.wrong.append(f"{response.request.method} {response.url}: {response.status}")


async def links(page: Page) -> list[str]:
    found = await page.eval_on_selector_all(
        "a[href], area[href], iframe[src]", "all => all.map(e => e.href || e.src)"
    )
    return [urldefrag(urljoin(page.url, each)).url for each in found]


async def opened(page: Page, url: str) -> str:
    """ "": the page is there; "download"; or what is wrong with it."""
    try:
        response = await page.goto(url, wait_until="load")
    except PlaywrightError as error:
        if "Download is starting" in str(error) or "ERR_ABORTED" in str(error):
            return "download"
        return str(error)
    if response is None:
        return "no response"
    if "html" not in response.headers.get("content-type", ""):
        return "download"
    try:
        await page.wait_for_function(
            "document.body && document.body.innerText.trim().length > 20", timeout=10_000
        )
    except PlaywrightError:
        return "the page is empty"
    return ""


async def test_every_page_that_a_link_leads_to(page: Page, node: Node) -> None:
    home = pages.url(node, "/")
    async with aiomqtt.Client("127.0.0.1", node.tcp, identifier="crawled", timeout=15) as mqtt:
        await mqtt.subscribe("crawled/#", qos=1)
        await mqtt.publish("crawled/kept", b"x", qos=1, retain=True)
        await asyncio.sleep(2.5)  # the directory is written once a second
        await pages.sign_in(page, node, "alice")
        page.watch.expected = ("",)  # type: ignore[attr-defined]  # this test has eyes of its own
        visit = Visit(page)
        waiting = deque([home])
        seen = set(waiting)
        kinds: set[str] = set()
        wrong: list[str] = []
        walked: list[str] = []
        while waiting:
            url = waiting.popleft()
            if kind(url) in kinds:
                continue
            kinds.add(kind(url))
            visit.wrong.clear()
            problem = await opened(page, url)
            walked.append(urlsplit(url).path)
            if problem == "download":
                wrong += [f"{url}: {each}" for each in visit.wrong]
                continue
            if not problem:
                await page.wait_for_timeout(100)  # scripts that run when it is loaded
            wrong += [f"{url}: {each}" for each in ([problem] if problem else []) + visit.wrong]
            for link in [] if problem else await links(page):
                split = urlsplit(link)
                if link.startswith(home) and split.path != LOGOUT and link not in seen:
                    seen.add(link)
                    waiting.append(link)
    assert not wrong, "\n".join(dict.fromkeys(wrong))
    assert len(set(walked)) > 40, walked
    for path in ("/admin/mqtt_auth/client/", "/admin/cluster/sessioninfo/", "/api/docs/", "/client/"):
        assert path in walked, f"no link leads to {path}"


async def test_the_login_page(page: Page, node: Node) -> None:
    visit = Visit(page)
    assert await opened(page, pages.url(node, "/")) == ""
    assert "/admin/login/" in page.url
    assert visit.wrong == []


@pytest.mark.parametrize("path", ["/api/docs/"])
async def test_the_api_documentation_shows_its_operations(page: Page, node: Node, path: str) -> None:
    await pages.sign_in(page, node, "alice")
    await page.goto(pages.url(node, path))
    await page.locator(".opblock").first.wait_for()
    assert await page.locator(".opblock").count() > 50
