"""What tests in a real browser share. A module of such tests begins with `pytestmark = in_a_browser`.

Playwright's asynchronous interface: its other one would leave a running event loop in the process, in which
neither pytest-asyncio nor Django's ORM work. All tests and fixtures with a page live on the session's loop.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from playwright.async_api import ConsoleMessage, Error, Page

from gmqtt_platform.config.values import ROOT
from tests.wire import nodes
from tests.wire.nodes import Node
from tests.wire.programs import needs

in_a_browser = [needs("chromium", "node", "npm"), pytest.mark.asyncio(loop_scope="session")]

PASSWORD = "correct horse battery staple"  # of every account of the cast
TIMEOUT = 15_000  # milliseconds that a page may take to show something

# Run once in the data directory that the nodes of these tests start with.
CAST = """
from django.contrib.auth.models import Permission, User
from guardian.shortcuts import assign_perm
from apps.auth.models import AclRule, ClientGroup
from apps.common.actors import SYSTEM
from apps.auth.services import registering

def operator(name, **more):
    return User.objects.create_user(name, password=PASSWORD, is_staff=True, **more)

alice = operator("alice", is_superuser=True)
bob = operator("bob")
operator("charlie")
group = ClientGroup.objects.create(name="pumps")
for filter, action in (("pumps/${clientid}/state", "publish"), ("pumps/${clientid}/orders", "subscribe")):
    AclRule.objects.create(group=group, effect="allow", action=action, filter=filter)
for permission in ("view_members", "read_members", "command_members"):
    assign_perm(permission, bob, group)
new = registering.NewClient(client_id="pump-1", username="pump-1", password="pump secret", groups=["pumps"])
registering.register(SYSTEM, new)
"""


def prepare(data_dir: Path) -> None:
    """A migrated data directory with alice (superuser), bob (in charge of the clients of the group "pumps",
    of which pump-1 is one) and charlie (an operator without permissions)."""
    nodes.migrate(data_dir)
    nodes.manage(data_dir, "shell", "--no-imports", "-c", f"PASSWORD = {PASSWORD!r}\n{CAST}")


def build() -> None:
    """The web client's bundle, by whichever test process comes first."""
    (ROOT / "build").mkdir(exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    with (ROOT / "build" / "webclient.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [shutil.which("make") or "make", "webclient"]
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=300)


class Watch:
    """Collects what a page must not do: errors of its scripts, violations of its content security policy."""

    def __init__(self, page: Page) -> None:
        self.found: list[str] = []
        self.expected: Iterable[str] = ()  # parts of messages that a test provokes
        page.on("pageerror", self._error)
        page.on("console", self._said)

    def _error(self, error: Error) -> None:
        self.found.append(f"{error}\n{error.stack}")

    def _said(self, message: ConsoleMessage) -> None:
        # The browser reports refused WebSockets and failed requests as errors, too: those are tested for.
        network = "WebSocket connection to" in message.text or "Failed to load resource" in message.text
        if (message.type == "error" and not network) or "Content Security Policy" in message.text:
            self.found.append(message.text)

    def check(self) -> None:
        wrong = [each for each in self.found if not any(part in each for part in self.expected)]
        assert not wrong, "\n".join(wrong)


def url(node: Node, path: str) -> str:
    return f"http://127.0.0.1:{node.ws}{path}"


async def sign_in(page: Page, node: Node, name: str, path: str = "/admin/") -> None:
    """As one of the cast; `path` is where the browser is afterwards."""
    await page.goto(url(node, f"/admin/login/?next={path}"))
    await page.locator("#id_username").fill(name)
    await page.locator("#id_password").fill(PASSWORD)
    await page.locator("[type=submit]").click()
    await page.wait_for_url(url(node, path))
