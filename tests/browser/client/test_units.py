"""The web client's own unit tests, in Node.js."""

from __future__ import annotations

import subprocess

from gmqtt_platform.config.loader import ROOT
from tests.browser import pages
from tests.wire.programs import find, needs

pytestmark = needs("node", "npm")


def test_units() -> None:
    pages.build()  # which installs the packages
    command = [find("node"), "--test", "test/"]
    done = subprocess.run(
        command, cwd=ROOT / "webclient", capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
