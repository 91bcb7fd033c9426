"""What the page says when a connection does not come about, or ends."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.client.client import WebClient
from tests.browser.conftest import Start
from tests.browser.pages import in_a_browser, sign_in
from tests.wire import certs
from tests.wire.nodes import Node

pytestmark = in_a_browser


async def test_wrong_credentials_are_told_in_words(page: Page, guarded: Node) -> None:
    await sign_in(page, guarded, "charlie", "/client/")
    client = WebClient(page, guarded)
    await client.be_someone("pump-1", "pump-1", "wrong")
    await client.connect_button.click()
    await expect(client.problem).to_have_text(
        "The server refused the connection: Wrong user name or password. (0x86) "
        "The server says: “wrong user name or password”."
    )
    await expect(client.status).to_contain_text("Not connected")

    await client.settings.get_by_label("MQTT version").select_option("3.1.1")
    await client.connect_button.click()
    await expect(client.problem).to_contain_text("Wrong user name or password. (0x86)")

    await client.set("Password", "pump secret")
    await client.connect()
    await expect(client.status).to_contain_text("as pump-1")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mqtt://127.0.0.1:1883", "A browser cannot connect to mqtt:// addresses"),
        ("http://127.0.0.1/mqtt", "it has to begin with ws:// or wss://"),
        ("nonsense", "This is no address"),
        ("", "address is missing"),
        ("ws://u:p@127.0.0.1/mqtt", "into their own fields"),
    ],
)
async def test_a_wrong_address_is_explained_before_it_is_tried(
    page: Page, node: Node, url: str, words: str
) -> None:
    client = await WebClient.open(page, node)
    await client.set("Server address", url)
    await expect(client.problem).to_contain_text(words)
    await expect(client.connect_button).to_be_disabled()


@pytest.mark.parametrize(
    ("made_of", "words"),
    [
        (lambda node, free: f"ws://127.0.0.1:{free}/mqtt", "could not be reached: nothing answers"),
        (lambda node, free: f"ws://127.0.0.1:{node.ws}/wrong", "could not be reached"),
    ],
    ids=["nobody there", "no MQTT there"],
)
async def test_an_address_without_a_server_is_tried_again_until_it_is_given_up(
    page: Page, node: Node, made_of: Callable[[Node, int], str], words: str
) -> None:
    client = await WebClient.open(page, node)
    await client.set("Server address", made_of(node, _free_port()))
    await client.connect_button.click()
    await expect(client.problem).to_contain_text(words)
    await expect(client.status).to_contain_text("Reconnecting, try")
    await client.state.get_by_role("button", name="Cancel").click()
    await expect(client.status).to_have_text("Not connected")


async def test_a_certificate_that_nobody_signed(page: Page, start: Start, tmp_path: Path) -> None:
    made = certs.make(tmp_path)
    listeners = {"LISTENERS__TLS_CERT": str(made.server), "LISTENERS__TLS_KEY": str(made.server_key)}
    node = start(LISTENERS__HTTPS="127.0.0.1:0", **listeners)
    node.quiet = False  # the browser's refusal is in its log
    client = await WebClient.open(page, node)
    await client.set("Server address", f"wss://127.0.0.1:{node.wss}/mqtt")
    await client.connect_button.click()
    await expect(client.problem).to_contain_text("the browser does not trust its certificate")


async def test_it_comes_back_after_the_node_restarts(page: Page, start: Start) -> None:
    node = start()
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("back/#")
    port, node.quiet = node.ws, False
    node.stop()
    await expect(client.cause).to_contain_text("The server is shutting down. (0x8B)")
    await expect(client.status).to_contain_text("Reconnecting, try")
    again = start(LISTENERS__HTTP=f"127.0.0.1:{port}")
    assert again.ws == port
    await expect(client.status).to_contain_text("Connected as")
    await expect(client.subscription("back/#")).to_contain_text("QoS 0")
    await client.publish("back/again", "hello")
    await expect(client.row("back/again")).to_contain_text("hello")


async def test_a_connection_taken_over_is_not_taken_back(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.set("Client id", "same")
    await client.connect()
    await page.get_by_role("button", name="New connection").click()
    await client.set("Client id", "same")
    await client.connect()
    await page.get_by_role("button", name="Connection 1", exact=True).click()
    await expect(client.problem).to_contain_text(
        "Another connection with the same client id took over. (0x8E)"
    )
    await expect(client.status).to_contain_text("Not connected")


async def test_a_will_is_sent_when_the_page_is_gone(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("wills/#")
    other = await page.context.new_page()
    leaving = await WebClient.open(other, node)
    await leaving.more()
    await leaving.set("Will topic (empty: none)", "wills/leaving")
    await leaving.set("Will message", "gone without a word")
    await leaving.connect()
    await other.close()
    await expect(client.row("wills/leaving")).to_contain_text("gone without a word")


async def test_connections_side_by_side(page: Page, node: Node) -> None:
    client = await WebClient.open(page, node)
    await client.connect()
    await client.subscribe("side/one")
    await page.get_by_role("button", name="New connection").click()
    await client.settings.get_by_label("MQTT version").select_option("3.1.1")
    await client.connect()
    await client.publish("side/one", "from two")
    await expect(client.row("from two", "out")).to_be_visible()
    await page.get_by_role("button", name="Connection 1", exact=True).click()
    await expect(client.row("from two", "in")).to_be_visible()
    await page.get_by_role("button", name="Close Connection 1").click()
    await expect(client.subscriptions.get_by_role("listitem")).to_have_count(0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
