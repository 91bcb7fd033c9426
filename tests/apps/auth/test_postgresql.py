"""What asks the database in ways of its own once more, on a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys

from gmqtt_platform.config.loader import ROOT
from tests.postgres import postgresql

TESTS = (
    "tests/apps/auth/test_connect_facts.py",
    "tests/apps/auth/test_constraints.py",
    "tests/apps/auth/test_register.py",
    "tests/apps/auth/test_races.py",
    "tests/apps/auth/admin/test_odd_queries.py",
    "tests/apps/auth/admin/test_two_operators.py",
    "tests/apps/auth/api/test_lists.py",
    "tests/apps/auth/api/test_register.py",
    "tests/apps/cluster/test_constraints.py",
    "tests/apps/cluster/directory/test_drops.py",
    "tests/apps/cluster/directory/test_recorder.py",
    "tests/apps/cluster/api/test_lists.py",
    "tests/apps/cluster/api/test_object_permissions.py",
)


def test_postgresql_answers_as_sqlite_does() -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *TESTS]
    # This process's settings are not that one's: it has to come to them by its own conftest.
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    with postgresql() as server:
        environ["TEST_DATABASE_URL"] = server
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "database: django.db.backends.postgresql" in done.stdout, done.stdout
    assert " passed" in done.stdout
