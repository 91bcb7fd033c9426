from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.site import built


@pytest.fixture(scope="session")
def site() -> Path:
    """The documentation, built as `make docs` does."""
    return built()
