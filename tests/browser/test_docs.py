"""The documentation that a node serves, in Chromium: no error, no violation of its security policy."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser import pages
from tests.browser.conftest import Start
from tests.browser.pages import in_a_browser
from tests.docs import site
from tests.wire.nodes import Node

pytestmark = in_a_browser

PATHS = ("", "quick-start/", "console/", "reference/configuration/", "zh/operations/runbooks/")


@pytest.fixture(scope="module")
def built() -> Path:
    return site.built()


@pytest.fixture
def node(built: Path, start: Start) -> Node:
    return start()


async def test_pages_and_search(page: Page, node: Node) -> None:
    for path in PATHS:
        answer = await page.goto(pages.url(node, f"/docs/{path}"), wait_until="networkidle")
        assert answer is not None and answer.status == 200, path
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self';" in policy and "unsafe-eval" not in policy
        for picture in await page.locator("article img").all():
            assert await picture.evaluate("each => each.complete && each.naturalWidth > 0")
    await page.goto(pages.url(node, "/docs/"))
    await page.locator("input[name=query]").fill("receive_maximum")
    await expect(page.locator(".md-search-result__item").first).to_contain_text("receive_maximum")


async def test_the_sidebar_leads_there(page: Page, node: Node) -> None:
    await pages.sign_in(page, node, "alice", "/admin/auth/user/")
    await expect(page.locator("a[href='/docs/']").first).to_be_attached()


async def test_what_is_no_page(node: Node) -> None:
    def ask() -> None:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(pages.url(node, "/docs/no-such-page/"), timeout=10)
        with caught.value as answer:
            assert answer.code == 404 and b"no such page" in answer.read()
        with urllib.request.urlopen(pages.url(node, "/docs"), timeout=10) as answer:
            assert answer.url.endswith("/docs/")

    await asyncio.to_thread(ask)
