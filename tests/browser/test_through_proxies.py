"""Chromium through the real HAProxy and nginx with the shipped files, by a public name on port 443."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django_otp.oath import totp
from playwright.async_api import Page, async_playwright, expect

from tests.browser.client.client import WebClient
from tests.browser.conftest import Start
from tests.browser.pages import PASSWORD, TIMEOUT, in_a_browser
from tests.wire import certs, shipped
from tests.wire.certs import PUBLIC, Certificates
from tests.wire.nodes import Node
from tests.wire.programs import find, needs
from tests.wire.shipped import Proxy

pytestmark = in_a_browser
HERE = f"https://{PUBLIC}"


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return certs.make(tmp_path)


@pytest.fixture
def behind(start: Start, certificates: Certificates) -> Node:
    return start(
        HTTP__PUBLIC_URLS=HERE,
        HTTP__TRUSTED_PROXIES="127.0.0.1/32",
        LISTENERS__PROXY_PROTOCOL="true",
        LISTENERS__TLS="mqtts://127.0.0.1:0",
        LISTENERS__TLS_CERT=str(certificates.server),
        LISTENERS__TLS_KEY=str(certificates.server_key),
        AUTH__CLIENT="django",
        AUTH__ACL="django",
        LOG__LEVEL="debug",
    )


@pytest.fixture(params=[pytest.param(each, marks=needs(each)) for each in ("haproxy", "nginx")])
def front(
    request: pytest.FixtureRequest, behind: Node, certificates: Certificates, tmp_path: Path
) -> Iterator[Proxy]:
    start = {"haproxy": shipped.haproxy, "nginx": shipped.nginx}[request.param]
    with start([behind], certificates, tmp_path / request.param) as proxy:
        yield proxy


def pin(certificates: Certificates) -> str:
    """Of the server's key: Chromium takes this certificate and no other one that it does not know."""
    key = x509.load_pem_x509_certificate(certificates.server.read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return base64.b64encode(digest).decode()


async def test_the_console_the_web_client_and_the_docs(
    behind: Node, front: Proxy, certificates: Certificates
) -> None:
    wrong: list[str] = []
    sockets: list[str] = []
    arguments = [
        "--no-sandbox",
        "--disable-dev-shm-usage",
        f"--host-resolver-rules=MAP {PUBLIC}:443 127.0.0.1:{front.https}",
        f"--ignore-certificate-errors-spki-list={pin(certificates)}",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find("chromium"), args=arguments)
        page = await browser.new_page(locale="en-US")
        page.set_default_timeout(2 * TIMEOUT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("websocket", lambda opened: sockets.append(opened.url))
        await sign_in(page)
        await expect(page.locator("#dashboard")).to_have_attribute("data-connected", "true")
        assert sockets == [f"wss://{PUBLIC}/console/feed/"]
        session = next(each for each in await page.context.cookies() if each["name"] == "sessionid")
        assert session["secure"] and session["httpOnly"]
        await use_web_client(page, behind)
        assert sockets[-1] == f"wss://{PUBLIC}/mqtt"
        await page.goto(f"{HERE}/api/docs/")
        await expect(page.locator(".swagger-ui .info .title")).to_be_visible()
        await use_two_factors(page)
        await browser.close()
    assert not wrong, "\n".join(wrong)


async def sign_in(page: Page, code: str = "") -> None:
    await page.goto(f"{HERE}/admin/login/?next=/admin/")
    await page.fill("[name=username]", "alice")
    await page.fill("[name=password]", PASSWORD)
    if code:
        await page.fill("[name=otp_token]", code)
    await page.click("#login-form button")
    await page.wait_for_url(f"{HERE}/admin/")


async def use_web_client(page: Page, node: Node) -> None:
    await page.goto(f"{HERE}/client/")
    client = WebClient(page, node)
    await client.state.get_by_role("button", name="Connect as alice").click()
    await expect(client.status).to_contain_text("Connected as console-alice-")
    await client.subscribe("pumps/1/state")
    await client.publish("pumps/1/state", "running", qos=1)
    await expect(client.row("pumps/1/state")).to_contain_text("running")
    assert "(wss)" in node.log()


async def use_two_factors(page: Page) -> None:
    """Set the second factor up, sign in with it, take it away."""
    await page.goto(f"{HERE}/admin/two-factor/")
    secret = await page.locator(".gm-page code").inner_text()
    key = base64.b32decode(secret.replace(" ", "").upper())
    await page.fill("[name=token]", f"{totp(key):06d}")
    await page.get_by_role("button", name="Set up").click()
    recovery = (await page.locator(".gm-page pre").inner_text()).split()[0]
    await page.context.clear_cookies()
    await sign_in(page, recovery)
    await page.goto(f"{HERE}/admin/two-factor/")
    await page.fill("[name=password]", PASSWORD)
    await page.get_by_role("button", name="Remove the authenticator").click()
    await expect(page.get_by_text("The authenticator was removed.")).to_be_visible()
