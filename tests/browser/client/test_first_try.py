"""Open the page, connect, subscribe, publish, read: what somebody does first."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.browser.client.client import WebClient
from tests.browser.pages import in_a_browser
from tests.wire.nodes import Node

pytestmark = in_a_browser


async def test_connect_subscribe_publish_receive(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("first/#", qos=1)
    await client.publish("first/try", '{"b": [1, 2], "a": 12345678901234567890}', qos=1, format="json")
    await expect(client.rows).to_have_count(2)
    await expect(client.rows.nth(0)).to_contain_text("first/try")
    await client.open_message("first/try", direction="in")
    await expect(client.detail.locator("pre")).to_have_text(
        '{\n  "b": [\n    1,\n    2\n  ],\n  "a": 12345678901234567890\n}'
    )
