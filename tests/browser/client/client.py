"""The web client as a person uses it: by labels and buttons, in English unless a test says otherwise."""

from __future__ import annotations

from playwright.async_api import Locator, Page, expect

from tests.browser.pages import url
from tests.wire.nodes import Node


class WebClient:
    def __init__(self, page: Page, node: Node) -> None:
        self.page = page
        self.node = node
        self.state = page.locator("section.state")
        self.status = self.state.get_by_role("status")
        self.problem = self.state.get_by_role("alert").last
        self.cause = self.state.get_by_role("alert").first  # of what the newest problem came after
        self.connect_button = self.state.get_by_role("button", name="Connect")
        self.settings = page.locator("#connection")
        self.subscriptions = page.locator("#subscriptions")
        self.publishing = page.locator("#publish")
        self.messages = page.locator("#messages")
        self.rows = page.get_by_role("option").and_(page.locator(".message"))
        self.counts = page.locator(".counts p")
        self.detail = page.locator(".detail")

    @classmethod
    async def open(cls, page: Page, node: Node, query: str = "") -> WebClient:
        await page.goto(url(node, f"/client/{query}"))
        return cls(page, node)

    async def set(self, label: str, value: str) -> None:
        """A field of the settings."""
        await self.settings.get_by_label(label, exact=True).fill(value)

    async def more(self) -> None:
        """Unfold what the settings hide at first."""
        await self.settings.get_by_text("More: session, will, properties").click()

    async def be_someone(self, client_id: str, username: str, password: str) -> None:
        """In place of the operator who is signed in."""
        await self.settings.get_by_label("Identity").select_option("someone")
        await self.set("Client id", client_id)
        await self.set("User name", username)
        await self.set("Password", password)

    async def connect(self, url: str = "") -> None:
        if url:
            await self.set("Server address", url)
        await self.connect_button.click()
        await expect(self.status).to_contain_text("Connected as")

    async def subscribe(self, filter: str, qos: int = 0) -> None:
        await self.subscriptions.get_by_label("Topic filter").fill(filter)
        await self.subscriptions.get_by_label("QoS").select_option(str(qos))
        await self.subscriptions.get_by_role("button", name="Subscribe", exact=True).click()
        await expect(self.subscription(filter)).to_contain_text(f"QoS {qos}")

    def subscription(self, filter: str) -> Locator:
        return self.subscriptions.get_by_role("listitem").filter(has_text=filter)

    async def publish(
        self, topic: str, payload: str, qos: int = 0, retain: bool = False, format: str = "text"
    ) -> None:
        form = self.publishing
        await form.get_by_label("Topic", exact=True).fill(topic)
        await form.get_by_label("Message", exact=True).fill(payload)
        await form.get_by_label("Format").select_option(format)
        await form.get_by_label("QoS").select_option(str(qos))
        await form.get_by_label("Retain").set_checked(retain)
        await form.get_by_role("button", name="Publish", exact=True).click()

    def row(self, text: str, direction: str = "in") -> Locator:
        return self.page.locator(f".message.{direction}").filter(has_text=text)

    async def open_message(self, text: str, direction: str = "in") -> None:
        await self.row(text, direction).last.click()
        await expect(self.detail).to_be_visible()
