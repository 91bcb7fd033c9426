"""The suite's environment: a data directory of its own and nothing of the developer's configuration."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django
import pytest
from django.conf import settings

from tests import services
from tests.services import _redis, kafka, kafka_prefix, own_kafka, own_redis, redis_url

__all__ = ["_redis", "kafka", "kafka_prefix", "own_kafka", "own_redis", "redis_url"]  # fixtures for all tests

CORE = Path(__file__).parent / "apps" / "gateway"

# At import, because nothing of pytest-django's may read the settings earlier. Each xdist worker gets its own.
for _name in [name for name in os.environ if name.startswith("GMQTT_") and name != "GMQTT_PURE_PYTHON"]:
    del os.environ[_name]
os.environ["GMQTT_NODE__DATA_DIR"] = tempfile.mkdtemp(prefix="gmqtt-tests-")
if "TEST_DATABASE_URL" in os.environ:  # else SQLite
    os.environ["GMQTT_DATABASE__URL"] = os.environ["TEST_DATABASE_URL"]
os.environ["DJANGO_SETTINGS_MODULE"] = "gmqtt_platform.settings"
atexit.register(shutil.rmtree, os.environ["GMQTT_NODE__DATA_DIR"], ignore_errors=True)

if "TEST_DATABASE_URL" not in os.environ:
    # As in production, a file: in SQLite's shared memory a reader in one thread fails a writer in another.
    _file = str(Path(os.environ["GMQTT_NODE__DATA_DIR"]) / "tests.sqlite3")
    settings.DATABASES["default"].setdefault("TEST", {})["NAME"] = _file

django.setup()  # before pytest-django would: the conftests of folders named on the command line import models


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In CI what fails runs once more, but in the core: it waits for no machine, and asking costs time."""
    if os.environ.get("CI"):
        for item in items:
            if not item.path.is_relative_to(CORE / "mqtt") and not item.path.is_relative_to(CORE / "broker"):
                item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))


def pytest_report_header() -> str:
    return f"database: {settings.DATABASES['default']['ENGINE']}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The workers of xdist share servers; who started the workers stops them."""
    if not hasattr(session.config, "workerinput"):
        services.stop_shared(session.config)
