"""A running node and Chromium, for whoever tests a page."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser import pages
from tests.browser.pages import TIMEOUT, Watch
from tests.wire.nodes import Node
from tests.wire.programs import find

expect.set_options(timeout=TIMEOUT)

Start = Callable[..., Node]
NewPage = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with the cast of `pages.prepare`; the web client is built."""
    pages.build()
    directory = tmp_path_factory.mktemp("browser-template") / "data"
    pages.prepare(directory)
    return directory


@pytest.fixture(scope="session")
def node(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The node that the tests share: default configuration, anybody may connect to MQTT."""
    started = Node(tmp_path_factory.mktemp("browser-node") / "data", prepared)
    yield started
    assert started.stop() == 0, started.log()
    assert not started.trouble(), started.trouble()


@pytest.fixture(scope="session")
def guarded(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """Another one, where the database decides who may connect, publish and subscribe."""
    settings = {"AUTH__CLIENT": "django", "AUTH__ACL": "django"}
    started = Node(tmp_path_factory.mktemp("guarded") / "data", prepared, **settings)
    yield started
    assert started.stop() == 0, started.log()
    assert not started.trouble(), started.trouble()


@pytest.fixture
def start(prepared: Path, tmp_path: Path) -> Iterator[Start]:
    """start(AUTH__CLIENT="django"): a node for one test."""
    count = itertools.count()
    started: list[Node] = []

    def one(**settings: str) -> Node:
        node = Node(tmp_path / f"node{next(count)}", prepared, **settings)
        started.append(node)
        return node

    yield one
    for each in started:
        each.stop()
    for each in started:
        assert not (each.quiet and each.trouble()), each.trouble()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        # --no-sandbox: the tests may run as root. /dev/shm is small in containers.
        started = await playwright.chromium.launch(
            executable_path=find("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield started
        await started.close()


@pytest_asyncio.fixture(loop_scope="session")
async def new_page(browser: Browser) -> AsyncIterator[NewPage]:
    """new_page(locale="zh-CN", viewport=...): a page of a browser without cookies; `page.watch` watches it.

    What its scripts did wrong fails the test, and so does a violation of the content security policy.
    """
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    async def one(**options: object) -> Page:
        context = await browser.new_context(**({"locale": "en-US"} | options))  # type: ignore[arg-type]
        context.set_default_timeout(TIMEOUT)
        contexts.append(context)
        page = await context.new_page()
        watches.append(Watch(page))
        page.watch = watches[-1]  # type: ignore[attr-defined]
        return page

    yield one
    for context in contexts:
        await context.close()
    for watch in watches:
        watch.check()


@pytest_asyncio.fixture(loop_scope="session")
async def page(new_page: NewPage) -> Page:
    return await new_page()
