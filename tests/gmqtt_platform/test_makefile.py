"""What `make` itself decides, in a copy of what it reads. Starting the node is tested with the node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gmqtt_platform.conf import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for path in [ROOT / "Makefile", *ROOT.glob("requirements*.txt")]:
        shutil.copy(path, tmp_path)
    return tmp_path


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--directory", str(checkout), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_make_alone_lists_the_tasks(checkout: Path) -> None:
    listed = make(checkout).stdout
    for task in ("run", "test", "lint", "format", "types", "bench", "build", "clean"):
        assert f"make {task} " in listed


@pytest.mark.parametrize("python", ["./old", "no-such-python"])
def test_a_python_that_is_too_old_is_named(checkout: Path, python: str) -> None:
    executable(checkout / "old", "exit 1")
    done = make(checkout, "run", f"PYTHON={python}")
    assert done.returncode == 2
    assert f"Python 3.11 or newer is needed, and {python} is not that" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_failed_virtual_environment_is_not_taken_for_a_good_one(checkout: Path) -> None:
    executable(checkout / "broken", 'test "$1" = -c && exit 0; mkdir .venv; touch .venv/pyvenv.cfg; exit 1')
    assert make(checkout, "run", "PYTHON=./broken").returncode == 2
    assert not (checkout / ".venv").exists()


def test_dependencies_are_installed_once_and_again_when_they_change(checkout: Path) -> None:
    log = checkout / "log"
    executable(checkout / ".venv" / "bin" / "python", f'echo "$*" >> {log}')
    (checkout / ".venv" / "pyvenv.cfg").touch()

    def commands() -> list[str]:
        log.write_text("")
        assert make(checkout, "run").returncode == 0
        return log.read_text().splitlines()

    start = ["manage.py migrate --verbosity 0", "manage.py ensure_operator", "manage.py rungateway"]
    first, second = commands(), commands()
    assert any(line.startswith("-m pip install") for line in first)
    assert first[-3:] == second[-3:] == start
    assert not [line for line in second if "pip" in line]

    requirements = checkout / "requirements.txt"
    later = requirements.stat().st_mtime + 60
    os.utime(requirements, (later, later))
    assert [line for line in commands() if line.endswith("-r requirements.txt")]


def test_without_a_c_compiler_nothing_is_compiled(checkout: Path) -> None:
    done = make(checkout, "build", "CC=no-such-compiler")
    assert done.returncode == 0
    assert "plain Python" in done.stdout
