"""What MQTT 5.0 adds to messages and subscriptions, and what is kept on the server."""

from __future__ import annotations

import json

from playwright.async_api import Page, expect

from tests.browser.client.client import WebClient
from tests.browser.pages import in_a_browser
from tests.wire.nodes import Node

pytestmark = in_a_browser


async def test_properties_travel(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("properties/#", qos=2)
    form = client.publishing
    await form.locator("summary", has_text="Properties").click()
    await form.get_by_label("Content type").fill("text/plain")
    await form.get_by_label("Response topic").fill("answers/#")
    await form.get_by_label("Correlation data").fill("c-1")
    await form.get_by_label("Expires after").fill("60")
    for value in ("one", "two"):
        await form.get_by_role("button", name="Add a property").click()
        await form.get_by_label("Name", exact=True).last.fill("__proto__")
        await form.get_by_label("Value", exact=True).last.fill(value)
    await client.publish("properties/x", "hello", qos=2)
    await expect(form.get_by_role("alert")).to_contain_text("A message goes to one topic")
    await form.get_by_label("Response topic").fill("answers")
    await client.publish("properties/x", "hello", qos=2)
    await client.open_message("properties/x")
    await expect(client.detail).to_contain_text("QoS 2")
    shown = json.loads(await client.detail.locator("pre").last.text_content() or "")
    assert shown.pop("messageExpiryInterval") in (59, 60)
    assert shown == {
        "contentType": "text/plain",
        "responseTopic": "answers",
        "correlationData": "Yy0x",
        "userProperties": {"__proto__": ["one", "two"]},
    }


async def test_retained_messages_and_no_local(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.publish("kept/here", "old news", qos=1, retain=True)
    await expect(client.row("kept/here", "out")).to_be_visible()
    await client.subscribe("kept/#")
    await expect(client.row("kept/here")).to_contain_text("old news")
    await client.open_message("kept/here")
    await expect(client.detail).to_contain_text("retained")
    await client.subscriptions.get_by_text("Options").click()
    await client.subscriptions.get_by_label("No local").check()
    await client.subscribe("kept/#", qos=1)
    await expect(client.subscriptions.get_by_role("listitem")).to_have_count(1)
    await client.publish("kept/here", "my own", qos=1)
    await client.open_message("my own", "out")
    await expect(client.detail).to_contain_text("State: acknowledged")
    await expect(client.row("my own", "in")).to_have_count(0)


async def test_a_session_outlives_the_connection(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.more()
    await client.set("Client id", "lasting")
    await client.set("Session expiry (seconds)", "300")
    await client.settings.get_by_label("Clean start").uncheck()
    await client.connect()
    await client.subscribe("lasting/#", qos=1)
    await client.state.get_by_role("button", name="Disconnect").click()
    await page.get_by_role("button", name="New connection").click()
    await client.connect()
    await client.publish("lasting/x", "while away", qos=1)
    await client.open_message("lasting/x", "out")
    await expect(client.detail).to_contain_text("State: acknowledged")
    await page.get_by_role("button", name="Connection 1", exact=True).click()
    await client.connect()
    await expect(client.status).to_contain_text("session resumed")
    await expect(client.row("lasting/x")).to_contain_text("while away")


async def test_numbers_out_of_range_are_not_taken(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.more()
    field = client.settings.get_by_label("Keep alive (seconds)")
    for wrong in ("65536", "-1", "1.5", ""):
        await field.fill(wrong)
        await expect(client.settings.get_by_role("alert")).to_have_text("A number from 0 to 65535 is needed.")
    await field.blur()
    await expect(field).to_have_value("60")
