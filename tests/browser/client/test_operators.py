"""Operators who are signed in to the console connect as themselves."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.browser.client.client import WebClient
from tests.browser.pages import in_a_browser, sign_in, url
from tests.wire.nodes import Node

pytestmark = in_a_browser


async def test_one_click_from_the_console(page: Page, guarded: Node) -> None:
    await sign_in(page, guarded, "alice")
    await page.goto(url(guarded, "/admin/mqtt_auth/client/"))
    await page.get_by_role("link", name="pump-1").click()
    await page.get_by_role("link", name="Open in web client").click()
    client = WebClient(page, guarded)
    await expect(client.status).to_contain_text("Connected as console-alice-")
    await expect(client.subscription("pumps/pump-1/state")).to_contain_text("QoS 0")
    await client.publish("pumps/pump-1/state", "running", qos=1)
    await expect(client.row("pumps/pump-1/state")).to_contain_text("running")


async def test_an_operator_reaches_what_his_groups_reach(page: Page, guarded: Node) -> None:
    await sign_in(page, guarded, "bob", "/client/")
    client = WebClient(page, guarded)
    await client.state.get_by_role("button", name="Connect as bob").click()
    await expect(client.status).to_contain_text("Connected as console-bob-")
    await client.subscribe("pumps/pump-1/orders")
    await client.publish("pumps/pump-1/orders", "stop", qos=1)
    await expect(client.row("pumps/pump-1/orders")).to_contain_text("stop")

    await client.subscriptions.get_by_label("Topic filter").fill("#")
    await client.subscriptions.get_by_role("button", name="Subscribe", exact=True).click()
    await expect(client.subscription("#").last).to_contain_text(
        "The server refused the subscription. Not authorized. (0x87)"
    )
    await client.publish("pumps/pump-1/state", "forged", qos=1)
    await expect(client.row("forged", "out")).to_contain_text("refused")
    await client.open_message("forged", "out")
    await expect(client.detail).to_contain_text("The server refused the message. Not authorized. (0x87)")


async def test_an_operator_without_permissions_is_told_so(page: Page, node: Node) -> None:
    await sign_in(page, node, "charlie", "/client/")
    client = WebClient(page, node)
    await client.connect_button.click()
    await expect(client.problem).to_contain_text("Your account has no permission to read or publish messages")
    await expect(client.status).to_have_text("Not connected")


async def test_a_session_that_ended_is_told(page: Page, node: Node) -> None:
    await sign_in(page, node, "alice", "/client/")
    client = WebClient(page, node)
    await page.context.clear_cookies()
    await client.connect_button.click()
    await expect(client.problem).to_contain_text("You are no longer signed in to the console")


async def test_a_link_from_elsewhere_connects_nowhere(page: Page, node: Node) -> None:
    """The same link as the console's, followed from another site, only fills in the form."""
    await sign_in(page, node, "alice")
    other = f"http://localhost:{node.ws}"  # for the browser another site than 127.0.0.1
    await page.goto(f"{other}/client/")
    link = url(node, "/client/?connect=operator&topics=%23&url=wss://evil.example/mqtt")
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    await page.evaluate("link => { location.href = link }", link)
    client = WebClient(page, node)
    await expect(client.connect_button).to_have_text("Connect as alice")
    await expect(client.subscription("#")).to_contain_text("waits for the connection")
    await expect(client.status).to_have_text("Not connected")
    assert not sockets
    await client.connect_button.click()
    await expect(client.status).to_contain_text("Connected as console-alice-")
    assert sockets == [f"ws://127.0.0.1:{node.ws}/mqtt"]


async def test_a_token_is_renewed_before_it_ends(page: Page, node: Node) -> None:
    """The page's clock jumps; the connection goes on with the same client id and session."""
    await sign_in(page, node, "alice", "/client/")
    await page.clock.install()
    await page.reload()
    client = WebClient(page, node)
    await client.connect_button.click()
    await expect(client.status).to_contain_text("Connected as console-alice-")
    await client.subscribe("renewed/#", qos=1)
    before = await client.status.text_content()
    async with page.expect_response("**/client/token/"):
        await page.clock.fast_forward("09:35")
    await expect(client.status).to_contain_text("session resumed")
    assert (await client.status.text_content() or "").startswith(before or "-")
    await client.publish("renewed/x", "still here", qos=1)
    await expect(client.row("renewed/x")).to_contain_text("still here")
