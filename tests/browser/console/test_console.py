"""The console in Chromium: it is live, and what operators press is done."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import aiomqtt
import pytest
from playwright.async_api import Page, expect

from gmqtt_platform.config.loader import ROOT
from tests.browser.conftest import NewPage
from tests.browser.pages import PASSWORD, in_a_browser
from tests.wire.nodes import Node

pytestmark = in_a_browser
AXE = ROOT / "webclient" / "node_modules" / "axe-core" / "axe.min.js"
EVIL = "<img src=x onerror=alert(1)>"


async def sign_in(page: Page, node: Node, path: str = "/admin/", name: str = "alice") -> None:
    await page.goto(f"http://127.0.0.1:{node.ws}/admin/login/?next={path}")
    await page.fill("[name=username]", name)
    await page.fill("[name=password]", PASSWORD)
    await page.click("#login-form button")
    await page.wait_for_url(f"**{path}")


@contextlib.asynccontextmanager
async def client(node: Node, name: str) -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", node.tcp, identifier=name, timeout=15) as connected:
        yield connected


async def find(page: Page, node: Node, name: str) -> None:
    """The page of a client; its row is written within two seconds."""
    url = f"http://127.0.0.1:{node.ws}/admin/cluster/sessioninfo/?q={quote(name)}"
    for _ in range(20):
        await page.goto(url)
        if await page.get_by_role("link", name=name, exact=True).count():
            break
        await asyncio.sleep(0.5)
    await page.get_by_role("link", name=name, exact=True).click()


async def test_the_dashboard_lives(page: Page, node: Node) -> None:
    await sign_in(page, node)
    await expect(page.locator("#dashboard")).to_have_attribute("data-connected", "true")
    before = int(await page.locator("[data-value=connections]").inner_text())
    async with client(node, "dash-1") as mqtt:
        await mqtt.subscribe("dash/#", qos=1)
        await expect(page.locator("[data-value=connections]")).to_have_text(str(before + 1))
        for _ in range(40):
            await mqtt.publish("dash/1", b"x", qos=1)
            await asyncio.sleep(0.05)
        await expect(page.locator("[data-value=messages_in]")).not_to_have_text("0")
    await expect(page.locator("[data-value=connections]")).to_have_text(str(before))
    nodes = page.locator("[data-nodes] tr")
    await expect(nodes).to_have_count(1)
    await expect(nodes).to_contain_text("up")
    await page.get_by_role("button", name="1h").click()
    await expect(page.get_by_role("button", name="1h")).to_have_attribute("aria-pressed", "true")


async def test_a_client_is_disconnected(page: Page, node: Node) -> None:
    async with client(node, "kick-me"):
        await sign_in(page, node)
        await find(page, node, "kick-me")
        await page.get_by_role("button", name="Disconnect", exact=True).click()
        await expect(page.get_by_text("The client was disconnected.")).to_be_visible()


async def test_a_trace_is_watched(page: Page, node: Node) -> None:
    await sign_in(page, node, "/admin/cluster/sessioninfo/traces/")
    await page.fill("[name=value]", "traced")
    await page.get_by_role("button", name="Record").click()
    await page.wait_for_url(re.compile("/traces/[0-9a-f]+/"))
    async with client(node, "traced") as mqtt:
        await mqtt.publish(f"trace/{EVIL}", b"x", qos=1)
    row = page.locator("#trace tbody tr", has_text="PUBLISH")
    await expect(row.first).to_contain_text(f"trace/{EVIL}")
    await expect(page.locator("#trace tbody tr", has_text="disconnected")).to_have_count(1)


async def test_a_node_is_drained(page: Page, start: object) -> None:
    node = start()  # type: ignore[operator]
    await sign_in(page, node, "/admin/cluster/clusternode/")
    async with client(node, "drained"):
        await page.locator("#result_list a, tbody th a").first.click()
        await page.get_by_role("button", name="Drain", exact=True).click()
        await expect(page.get_by_text("The node is being drained.")).to_be_visible()
        ready = await page.request.get(f"http://127.0.0.1:{node.ws}/readyz")
        assert ready.status == 503 and (await ready.json())["reasons"] == {"node": "draining"}
    await page.get_by_role("button", name="Stop draining").click()
    assert (await page.request.get(f"http://127.0.0.1:{node.ws}/readyz")).status == 200


async def test_hostile_names_do_nothing(page: Page, node: Node) -> None:
    async with client(node, EVIL) as mqtt:
        await mqtt.subscribe(f"a/{EVIL}")
        await sign_in(page, node)
        await find(page, node, EVIL)
        await expect(page.locator("dd", has_text=EVIL).first).to_be_visible()
        assert await page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("scheme", ("light", "dark"))
async def test_axe_finds_nothing_serious(new_page: NewPage, node: Node, scheme: str) -> None:
    page = await new_page(color_scheme=scheme, bypass_csp=True)
    await sign_in(page, node)
    paths = ("/admin/", "/admin/cluster/sessioninfo/", "/admin/cluster/sessioninfo/publish/")
    more = tuple(
        f"/admin/cluster/sessioninfo/{each}" for each in ("topics/?watch=a", "slow/", "kafka/", "traces/")
    )
    for path in (*paths, *more, "/admin/cluster/clusternode/", "/admin/two-factor/"):
        await page.goto(f"http://127.0.0.1:{node.ws}{path}")
        await page.wait_for_load_state("networkidle" if path != "/admin/" else "load")
        await page.add_script_tag(path=AXE)
        found = await page.evaluate(
            "async () => (await axe.run()).violations.filter(v => ['serious', 'critical'].includes(v.impact))"
        )
        ours = [each for each in found if any(_ours(node["html"]) for node in each["nodes"])]
        assert ours == [], [(each["id"], [node["html"] for node in each["nodes"]]) for each in ours]


def _ours(html: str) -> bool:
    """Not in the theme's own markup, which we do not write."""
    return "gm-" in html or "data-" in html


async def test_on_a_phone(new_page: NewPage, node: Node) -> None:
    page = await new_page(viewport={"width": 375, "height": 700})
    await sign_in(page, node)
    await expect(page.locator("[data-value=connections]")).to_be_visible()
    wide = (
        "e => e.tagName != 'CODE' && e.getBoundingClientRect().right > innerWidth"  # code scrolls by itself
    )
    elements = "[...document.querySelectorAll('#dashboard *')]"
    assert await page.evaluate(f"{elements}.filter({wide}).map(e => e.outerHTML.slice(0, 80))") == []


async def test_an_open_dashboard_costs_little(page: Page, node: Node) -> None:
    """Printed, not judged: machines differ."""
    await sign_in(page, node)
    await expect(page.locator("#dashboard")).to_have_attribute("data-connected", "true")

    def spent() -> float:
        fields = Path(f"/proc/{node.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    before = spent()
    await asyncio.sleep(3)
    print(f"node with one open dashboard: {(spent() - before) / 3:.1%} of a core")


async def test_rates_of_a_topic(page: Page, node: Node) -> None:
    async with client(node, "rate-1") as mqtt:
        await mqtt.subscribe(f"rate/{EVIL}", qos=0)
        await sign_in(page, node, "/admin/cluster/sessioninfo/topics/")
        level = page.locator("[data-tree] tr", has=page.get_by_role("link", name="rate /", exact=True))
        for _ in range(20):
            if await level.count():
                break
            await asyncio.sleep(0.5)
            await page.reload()
        await level.get_by_role("link", name="rate /").click()
        await expect(page.locator("[data-tree] tbody tr").first).to_contain_text(EVIL)
        await page.fill("#rates [name=watch]:not([type=hidden])", "rate/#")
        await page.get_by_role("button", name="Show the rate").click()
        shown = page.locator("[data-filter='rate/#'] [data-messages]")
        await expect(shown).to_have_text("0.0")
        for _ in range(60):
            await mqtt.publish("rate/1", b"x", qos=1)
            await asyncio.sleep(0.05)
            if float(await shown.inner_text()) > 0:
                break
        assert float(await shown.inner_text()) > 0
        assert await page.locator("img[src=x]").count() == 0


async def test_a_client_is_watched_and_its_rules_are_explained(page: Page, node: Node) -> None:
    async with client(node, "watched") as mqtt:
        await sign_in(page, node)
        await find(page, node, "watched")
        published = page.locator("[data-now=publishes_in]")
        await expect(published).to_have_text("0")
        await mqtt.publish("a", b"x", qos=1)
        await expect(published).to_have_text("1")
        await expect(page.locator("#events tbody tr").first).to_contain_text("connected")
        await page.fill("[name=topic]", f"a/{EVIL}")
        await page.get_by_role("button", name="Explain").click()
        await expect(page.locator("#decision")).to_contain_text(f"a/{EVIL}")
        await expect(page.locator("#decision [role=status]")).to_contain_text("by default")


async def test_slow_subscribers_and_kafka(page: Page, node: Node) -> None:
    await sign_in(page, node, "/admin/cluster/sessioninfo/slow/")
    await expect(page.get_by_text("Everybody keeps up.")).to_be_visible()
    await page.goto(f"http://127.0.0.1:{node.ws}/admin/cluster/sessioninfo/kafka/")
    await expect(page.get_by_text("runs without Kafka")).to_be_visible()
