"""What asks the database in ways of its own once more, on a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gmqtt_platform.conf import ROOT

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
    "tests/apps/cluster/test_drops.py",
    "tests/apps/cluster/test_inbox.py",
    "tests/apps/cluster/api/test_lists.py",
    "tests/apps/cluster/api/test_object_permissions.py",
)
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def program(name: str) -> str:
    found = shutil.which(name) or next(
        (str(path / name) for path in DEBIAN[::-1] if (path / name).exists()), ""
    )
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


def as_postgres(*command: str) -> None:
    """PostgreSQL refuses to run as root."""
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    subprocess.run([*prefix, *command], check=True, capture_output=True, timeout=60, cwd="/")


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a cluster of this test's own, reached by a socket in its folder alone."""
    initdb, pg_ctl = program("initdb"), program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="gmqtt-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    data = str(folder / "data")
    try:
        as_postgres(initdb, "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {folder} -c listen_addresses= -c fsync=off -c synchronous_commit=off"
        as_postgres(pg_ctl, "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://postgres@/gmqtt?host={folder}"
        finally:
            as_postgres(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_answers_as_sqlite_does(server: str) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *TESTS]
    # This process's settings are not that one's: it has to come to them by its own conftest.
    environ = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environ["TEST_DATABASE_URL"] = server
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "database: django.db.backends.postgresql" in done.stdout, done.stdout
    assert " passed" in done.stdout
