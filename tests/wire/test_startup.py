"""A node says that it is ready only with the schema of its version and a clock that can be right."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gmqtt_platform import __date__, startup
from gmqtt_platform.config.loader import ROOT, ConfError
from tests.postgres import postgresql
from tests.wire.nodes import Node, environment, until
from tests.wire.raw import V5, Raw

RUN = (str(ROOT / "manage.py"), "rungateway")


def refused(data_dir: Path, *command: str, **settings: str) -> str:
    """What a process says that ends with 2."""
    done = subprocess.run(
        [sys.executable, *(command or RUN)],
        env=environment(data_dir, **settings),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    return done.stderr


def reasons(node: Node) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.ws}/readyz") as answer:
            return dict(json.load(answer)["reasons"])
    except urllib.error.HTTPError as error:
        assert error.code == 503
        return dict(json.load(error)["reasons"])


@pytest.fixture
def change(tmp_path: Path, template: Path) -> Callable[[str], Path]:
    """change(SQL): a data directory whose database was migrated, and changed by that."""

    def run(statement: str) -> Path:
        data_dir = tmp_path / "data"
        data_dir.mkdir()
        shutil.copy(template / "db.sqlite3", data_dir)
        with sqlite3.connect(data_dir / "db.sqlite3") as here:
            here.execute(statement)
        return data_dir

    return run


@pytest.mark.parametrize("command", ["rungateway", "runauth"])
def test_a_database_that_was_not_migrated(tmp_path: Path, command: str) -> None:
    said = refused(tmp_path, str(ROOT / "manage.py"), command)
    assert "migrations that are not applied" in said and "run: manage.py migrate" in said


def test_one_migration_is_missing(change: Callable[[str], Path]) -> None:
    data_dir = change("DELETE FROM django_migrations WHERE app = 'cluster' AND name LIKE '0003%'")
    assert "1 migrations that are not applied (cluster.0003_export_failures)" in refused(data_dir)


def test_a_schema_that_is_newer_than_the_program(change: Callable[[str], Path]) -> None:
    row = "('cluster', '9999_of_the_next_version', '2030-01-01')"
    data_dir = change(f"INSERT INTO django_migrations (app, name, applied) VALUES {row}")
    said = refused(data_dir)
    assert "a newer schema than this program's (cluster.9999_of_the_next_version)" in said


def test_what_an_app_left_that_is_gone_does_not_matter(change: Callable[[str], Path]) -> None:
    row = "('former', '0001_initial', '2020-01-01')"
    data_dir = change(f"INSERT INTO django_migrations (app, name, applied) VALUES {row}")
    with Node(data_dir) as node:
        assert reasons(node) == {}


def test_a_clock_from_before_the_release(tmp_path: Path, template: Path) -> None:
    early = "import gmqtt_platform, manage, sys; gmqtt_platform.__date__ = '2999-01-01'"
    run = f"{early}; sys.argv = ['manage.py', 'rungateway']; manage.main()"
    said = refused(template, "-c", run)
    assert "clock" in said and "2999-01-01" in said and "chronyc makestep" in said


def test_when_a_clock_is_absurd() -> None:
    assert startup.before_release(0) == "1970-01-01 00:00"
    assert startup.before_release(4e9) == ""
    with pytest.raises(ConfError, match=__date__):
        startup.check(now=86400)


def test_a_database_that_comes_later(tmp_path: Path) -> None:
    """The node serves without, but is not ready before it has seen the schema."""
    door = tmp_path / "socket"
    url = f"postgresql://postgres@/gmqtt?host={door}"
    with postgresql() as ready, Node(tmp_path / "data", DATABASE__URL=url) as node:
        node.quiet = False
        assert "the database does not answer" in reasons(node)["startup"]
        with Raw(node.tcp) as client:
            client.connect(V5, "client")
        os.symlink(ready.partition("host=")[2], door)
        until(lambda: "migrations that are not applied" in reasons(node)["startup"], 60)
        command = [sys.executable, str(ROOT / "manage.py"), "migrate", "-v0"]
        subprocess.run(command, env=environment(tmp_path, DATABASE__URL=url), check=True, timeout=200)
        until(lambda: reasons(node) == {}, 60)


@pytest.mark.parametrize(("ahead", "ready"), [(0.5, True), (-90.0, False), (90.0, False)])
async def test_a_clock_far_from_that_of_redis(ahead: float, ready: bool) -> None:
    looked = startup.Startup("", lambda: ahead)
    looked._database.run = lambda function: _zero()  # type: ignore[assignment,method-assign]
    await looked.look()
    assert (looked.problem() == "") is ready
    assert looked.status()["ok"] is ready
    looked._begun = True  # one that was ready stays so, and says what is wrong
    assert looked.problem() == ""
    looked._database.close()


async def _zero() -> float:
    return 0.0
