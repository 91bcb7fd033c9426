"""`make screenshots`: the pictures of the README, from a node with a little traffic, in Chromium."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
import aiomqtt  # noqa: E402
from playwright.async_api import async_playwright  # noqa: E402

import tests.conftest  # noqa: E402, F401  # the settings of a data directory of its own
from tests.browser import pages  # noqa: E402
from tests.wire.nodes import Node  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PAGES = (
    ("clients", "sessioninfo/"),
    ("subscriptions", "subscriptioninfo/"),
    ("topics", "sessioninfo/topics/?under=devices&watch=devices/%23&watch=devices/%2B/temp"),
)
SECONDS = 40  # of traffic before the dashboard is shown


async def device(node: Node, number: int, stop: asyncio.Event) -> None:
    name = f"thermometer-{number:02d}"
    async with aiomqtt.Client("127.0.0.1", node.tcp, identifier=name) as client:
        await client.subscribe(f"devices/{name}/orders", qos=1)
        await client.publish(
            f"devices/{name}/model", b'{"model": "T1", "firmware": "2.4"}', qos=1, retain=True
        )
        while not stop.is_set():
            await client.publish(f"devices/{name}/temp", b"21.5", qos=1)
            await asyncio.sleep(0.1 + number % 5 / 10)


async def shoot(node: Node) -> None:
    stop = asyncio.Event()
    devices = [asyncio.create_task(device(node, number, stop)) for number in range(20)]
    async with async_playwright() as playwright:
        program = shutil.which("chromium")
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            page = await browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 860})
            await pages.sign_in(page, node, "alice")
            if scheme == "light":
                await asyncio.sleep(SECONDS)
            await page.wait_for_timeout(3000)
            await page.screenshot(path=IMAGES / f"console-{scheme}.png")
            if scheme == "light":
                for name, path in PAGES:
                    await page.goto(f"http://127.0.0.1:{node.ws}/admin/cluster/{path}")
                    await page.wait_for_timeout(3000)
                    await page.screenshot(path=IMAGES / f"console-{name}.png")
        await browser.close()
    stop.set()
    await asyncio.gather(*devices, return_exceptions=True)


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        prepared = Path(directory) / "prepared"
        pages.build()
        pages.prepare(prepared)
        node = Node(Path(directory) / "data", prepared)
        try:
            asyncio.run(shoot(node))
        finally:
            node.stop()


if __name__ == "__main__":
    main()
