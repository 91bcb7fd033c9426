from __future__ import annotations

import os
import shutil

import pytest


@pytest.fixture
def mosquitto() -> None:
    """The program is there; else skipped, and in CI a failure."""
    if shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return
    if os.environ.get("CI") == "true":
        pytest.fail("mosquitto is not installed")
    pytest.skip("mosquitto is not installed")
