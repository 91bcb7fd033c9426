from __future__ import annotations

from pathlib import Path

import pytest

from tests.wire import nodes


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated data directory."""
    directory = tmp_path_factory.mktemp("template") / "data"
    nodes.migrate(directory)
    return directory
