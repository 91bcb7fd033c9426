"""The page itself: languages, phone, keyboard, appearance, saved setups."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.browser.client.client import WebClient
from tests.browser.conftest import NewPage
from tests.browser.pages import in_a_browser, url
from tests.wire.nodes import Node

pytestmark = in_a_browser


@pytest.mark.parametrize(
    ("locale", "title", "button"), [("en-US", "MQTT client", "Connect"), ("zh-CN", "MQTT 客户端", "连接")]
)
async def test_it_speaks_the_browsers_language(
    new_page: NewPage, node: Node, locale: str, title: str, button: str
) -> None:
    page = await new_page(locale=locale)
    await page.goto(url(node, "/client/"))
    await expect(page.get_by_role("heading", level=1)).to_have_text(title)
    await expect(page).to_have_title(title)
    await page.locator("section.state").get_by_role("button", name=button, exact=True).click()
    await expect(page.locator("section.state").get_by_role("status")).to_contain_text(
        "Connected" if locale == "en-US" else "已连接"
    )


async def test_the_language_can_be_changed_and_stays(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.set("Server address", "mqtt://x")
    await page.get_by_label("Language").select_option("zh-hans")
    await expect(client.problem).to_contain_text("浏览器无法连接 mqtt:// 地址")
    assert await page.evaluate("document.documentElement.lang") == "zh-Hans"
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("MQTT 客户端")


async def test_light_and_dark(new_page: NewPage, node: Node) -> None:
    page = await new_page(color_scheme="dark")
    await page.goto(url(node, "/client/"))
    await expect(page.locator("body")).to_have_css("background-color", "rgb(16, 21, 28)")
    await page.get_by_label("Appearance").select_option("light")
    await expect(page.locator("body")).to_have_css("background-color", "rgb(246, 247, 249)")


async def test_a_phone(new_page: NewPage, node: Node) -> None:
    page = await new_page(viewport={"width": 360, "height": 640}, has_touch=True, is_mobile=True)
    client = await WebClient.open(page, node)
    panels = page.locator("nav.panels")
    await client.connect()
    await panels.get_by_role("button", name="Subscriptions").tap()
    await expect(client.settings).to_be_hidden()
    await client.subscribe("phone/#")
    await panels.get_by_role("button", name="Publish").tap()
    await client.publish("phone/x", "hello")
    await panels.get_by_role("button", name="Messages").tap()
    await client.open_message("phone/x")
    await expect(client.detail.locator("pre")).to_have_text("hello")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360  # nothing sticks out


async def test_the_keyboard_is_enough(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)

    async def tab_to(name: str) -> None:
        for _ in range(80):
            await page.keyboard.press("Tab")
            focused = await page.evaluate(
                "document.activeElement.labels?.[0]?.textContent || document.activeElement.ariaLabel"
                " || document.activeElement.textContent"
            )
            if name in focused:
                return
        raise AssertionError(f"{name} is not reached by Tab")

    await tab_to("Connect")
    await tab_to("Connect")
    await client.connect_button.focus()
    await page.keyboard.press("Enter")
    await expect(client.status).to_contain_text("Connected as")
    await tab_to("Topic filter")
    await page.keyboard.type("keys/#")
    await page.keyboard.press("Enter")
    await expect(client.subscription("keys/#")).to_contain_text("QoS 0")
    await tab_to("Topic")
    await page.keyboard.type("keys/a")
    await tab_to("Message")
    for word in ("one", "two", "three"):
        await page.keyboard.press("Control+A")
        await page.keyboard.type(word)
        await page.keyboard.press("Control+Enter")
    await expect(client.rows).to_have_count(6)
    await tab_to("Messages, newest last")
    await page.keyboard.press("Home")
    await expect(client.detail.locator("pre")).to_have_text("one")
    await page.keyboard.press("End")
    await page.keyboard.press("ArrowUp")
    await expect(client.rows.nth(4)).to_have_attribute("aria-selected", "true")
    await page.keyboard.press("Escape")
    await expect(client.detail).to_be_hidden()


async def test_a_setup_is_kept_without_its_password(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.set("Name", "My set-up")
    await client.set("User name", "someone")
    await client.set("Password", "hunter2")
    await client.subscriptions.get_by_label("Topic filter").fill("kept/#")
    await client.subscriptions.get_by_role("button", name="Subscribe", exact=True).click()
    await client.settings.get_by_text("Saved setups").first.click()
    await client.settings.get_by_role("button", name="Save").click()
    await expect(client.settings).to_contain_text("Saved in this browser as “My set-up”.")
    assert "hunter2" not in await page.evaluate("JSON.stringify(localStorage)")

    await page.reload()
    await expect(client.status).to_have_text("Not connected")
    await client.settings.get_by_text("Saved setups").first.click()
    await client.settings.get_by_label("Saved setups").select_option("My set-up")
    await client.settings.get_by_role("button", name="Load").click()
    await expect(client.settings.get_by_label("User name", exact=True)).to_have_value("someone")
    await expect(client.settings.get_by_label("Password", exact=True)).to_have_value("")
    await expect(client.subscription("kept/#")).to_contain_text("waits for the connection")
    await expect(client.status).to_have_text("Not connected")

    await client.settings.get_by_label("Keep the password").check()
    await client.set("Password", "hunter2")
    await client.settings.get_by_role("button", name="Save").click()
    await expect(client.settings).to_contain_text("Saved in this browser")
    assert "hunter2" in await page.evaluate("JSON.stringify(localStorage)")


async def test_strangers_are_sent_to_sign_in_where_mqtt_is_not_open_to_all(page: Page, guarded: Node) -> None:
    await page.goto(url(guarded, "/client/?topics=a"))
    assert page.url == url(guarded, "/admin/login/?next=/client/%3Ftopics%3Da")
