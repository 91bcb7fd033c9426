"""What comes in: much, large, binary, hostile."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.client.client import WebClient
from tests.browser.pages import in_a_browser
from tests.wire import raw
from tests.wire.nodes import Node

pytestmark = in_a_browser

HOSTILE = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>'


def send(node: Node, *messages: tuple[str, bytes]) -> None:
    connection = raw.Raw(node.tcp)
    connection.connect(raw.V311, "sender")
    for topic, payload in messages:
        connection.send(raw.publish(raw.V311, topic, payload))
    connection.send(raw.packet(0xE0))
    connection.close()


async def test_hostile_topics_and_payloads_are_text(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("hostile/#")
    topics = [
        f"hostile/{HOSTILE.replace('/', '')}",
        "hostile/__proto__",
        "hostile/constructor",
        "hostile/\u202egnp.exe",
        "hostile/" + "x" * 20_000,
        "hostile//" * 15,
    ]
    send(node, *((topic, HOSTILE.encode()) for topic in topics), ("hostile/json", b'{"__proto__": {"a": 1}}'))
    await expect(client.counts).to_contain_text("7 received")
    await expect(client.rows).to_have_count(7)
    for index in range(7):
        await client.rows.nth(index).click()
        await expect(client.detail.locator("pre")).to_contain_text("{" if index == 6 else HOSTILE)
    assert await page.evaluate("window.pwned") is None
    assert await page.locator(".messages img, .messages script").count() == 0

    await client.subscriptions.get_by_label("Topic filter").fill(HOSTILE.replace("/", ""))
    await client.subscriptions.get_by_role("button", name="Subscribe", exact=True).click()
    await expect(client.subscription("onerror")).to_be_visible()
    assert await page.evaluate("window.pwned") is None


async def test_binary_payloads_both_ways(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("binary/#")
    await client.publish("binary/one", "00 ff 0xC3", format="hex")
    await expect(client.row("binary/one")).to_contain_text("binary 00 ff c3")
    await client.open_message("binary/one")
    shown = client.detail.locator("pre")
    await expect(shown).to_have_text("00 ff c3")
    await client.detail.get_by_label("Format").select_option("base64")
    await expect(shown).to_have_text("AP/D")
    await client.detail.get_by_role("button", name="Publish again").click()
    await expect(client.publishing.get_by_label("Message", exact=True)).to_have_value("00 ff c3")

    await client.publish("binary/two", "0", format="hex")
    await expect(client.publishing.get_by_role("alert")).to_contain_text("Hex is pairs")
    await client.publish("binary/#", "00", format="hex")
    await expect(client.publishing.get_by_role("alert")).to_contain_text("A message goes to one topic")


async def test_five_megabytes(page: Page, node: Node, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"large " * 873_814)
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("large/#", qos=1)
    await client.publishing.get_by_label("Topic", exact=True).fill("large/one")
    await client.publishing.get_by_label("QoS").select_option("1")
    await client.publishing.get_by_label("Take the message from a file").set_input_files(file)
    await expect(client.publishing).to_contain_text("large.bin, 5.0 MiB")
    await client.publishing.get_by_role("button", name="Publish", exact=True).click()
    await expect(client.row("large/one")).to_contain_text("5.0 MiB")
    await client.open_message("large/one")
    await expect(client.detail).to_contain_text("The first 64 KiB of 5.0 MiB are shown.")
    async with page.expect_download() as download:
        await client.detail.get_by_role("button", name="Save the payload").click()
    saved = await (await download.value).path()
    assert saved.read_bytes() == file.read_bytes()

    too_large = tmp_path / "too-large.bin"
    too_large.write_bytes(bytes(17 << 20))
    await client.publishing.get_by_role("button", name="No file").click()
    await client.publishing.get_by_label("Take the message from a file").set_input_files(too_large)
    await expect(client.publishing).to_contain_text("too-large.bin, 17 MiB")
    await client.publishing.get_by_role("button", name="Publish", exact=True).click()
    await expect(client.publishing.get_by_role("alert")).to_contain_text("the server takes at most 16777216")


async def test_a_flood_leaves_the_page_usable(page: Page, node: Node) -> None:
    """5,000 messages a second for four seconds: all are counted, the newest 5,000 kept, typing goes on."""
    rate, seconds = 5_000, 4
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("flood/#")

    def flood() -> None:
        connection = raw.Raw(node.tcp)
        connection.connect(raw.V311, "flooder")
        started = time.monotonic()
        for tenth in range(seconds * 10):
            batch = range(tenth * rate // 10, (tenth + 1) * rate // 10)
            packets = (raw.publish(raw.V311, f"flood/{n % 50}", b'{"n": %d}' % n) for n in batch)
            connection.send(b"".join(packets))
            time.sleep(max(started + (tenth + 1) / 10 - time.monotonic(), 0))
        connection.send(raw.packet(0xE0))
        connection.close()

    sender = threading.Thread(target=flood)
    sender.start()
    slowest = 0.0
    while sender.is_alive():
        began = time.monotonic()
        await page.get_by_label("Filter by topic").fill(f"flood/{int(began) % 50}")
        slowest = max(slowest, time.monotonic() - began)
        await asyncio.sleep(0.2)
    await page.get_by_label("Filter by topic").fill("")
    await expect(client.counts).to_contain_text("20,000 received")
    await expect(client.counts).to_contain_text("5,000 shown")
    await expect(client.counts).to_contain_text("15,000 older ones left out")
    assert await client.rows.count() < 100  # only what is seen is in the document
    await expect(client.rows.last).to_contain_text('{"n": 19999}')
    assert slowest < 3, f"typing took {slowest:.1f} s"


async def test_filters_pause_and_export(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("some/#")
    await client.publish("some/a", "=1+1")
    await client.publish("some/b", "other")
    await expect(client.rows).to_have_count(4)
    await page.get_by_label("Direction").select_option("in")
    await expect(client.rows).to_have_count(2)
    await page.get_by_label("Filter by topic").fill("+/b")
    await expect(client.rows).to_have_count(1)
    await page.get_by_label("Filter by topic").fill("")
    await page.get_by_label("Filter by text").fill("=1")
    await expect(client.rows).to_have_count(1)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export CSV").click()
    table = (await (await download.value).path()).read_text()
    assert ",some/a,0,false,4,text,'=1+1," in table
    assert table.count("\n") == 2
    await page.get_by_label("Filter by text").fill("")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Export JSON").click()
    rows = json.loads((await (await download.value).path()).read_text())
    assert [row["payload"] for row in rows] == ["=1+1", "other"]

    await client.subscriptions.get_by_role("button", name="Pause some/#").click()
    await client.publish("some/c", "not listed")
    await expect(client.counts).to_contain_text("1 of paused subscriptions not listed")
    await expect(client.rows).to_have_count(2)
    await client.subscriptions.get_by_role("button", name="Unsubscribe from some/#").click()
    await expect(client.subscriptions).to_contain_text("Nothing subscribed to yet.")


async def test_filters_are_checked_before_they_are_sent(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    field = client.subscriptions.get_by_label("Topic filter")
    for filter, words in (
        ("a/#/b", "it can only be the last level"),
        ("a+", "“a+”: + stands for a whole level"),
        ("$share/g", "A shared subscription is"),
    ):
        await field.fill(filter)
        await expect(client.subscriptions.get_by_role("alert")).to_contain_text(words)
        await field.press("Enter")
        await expect(client.subscriptions.get_by_role("listitem")).to_have_count(0)


async def test_publishing_on_an_interval(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.publishing.get_by_label("Topic", exact=True).fill("again/and/again")
    await client.publishing.locator("summary", has_text="Repeat").click()
    await client.publishing.get_by_label("Every (milliseconds)").fill("20")
    await client.publishing.get_by_role("button", name="Repeat", exact=True).click()
    await expect(client.counts).to_contain_text(re.compile(r"\b([5-9]|\d\d+) sent"))
    await client.publishing.get_by_role("button", name="Stop").click()
    await expect(client.publishing.get_by_role("button", name="Repeat", exact=True)).to_be_visible()
