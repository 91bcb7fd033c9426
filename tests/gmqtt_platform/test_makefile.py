"""What `make` itself decides, in a copy of what it reads. Starting the node is tested with the node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for path in [ROOT / "Makefile", *ROOT.glob("requirements*")]:
        shutil.copy(path, tmp_path)
    return tmp_path


def make(checkout: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environ["PATH"] = path or environ["PATH"]
    command = ["make", "--directory", str(checkout), *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_make_alone_lists_the_tasks(checkout: Path) -> None:
    listed = make(checkout).stdout
    for task in ("run", "test", "lint", "format", "types", "bench", "build", "dist", "release", "clean"):
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

    requirements = checkout / "requirements.lock"
    later = requirements.stat().st_mtime + 60
    os.utime(requirements, (later, later))
    assert [line for line in commands() if line.endswith("-r requirements.lock")]


def test_without_a_c_compiler_nothing_is_compiled(checkout: Path) -> None:
    done = make(checkout, "build", "CC=no-such-compiler")
    assert done.returncode == 0
    assert "plain Python" in done.stdout


@pytest.fixture
def with_a_client(checkout: Path) -> Path:
    """A copy with a web client whose npm and node only write down that they were called."""
    for name in ("package.json", "package-lock.json", "build.mjs", "src/main.js"):
        (checkout / "webclient" / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / "webclient" / name).touch()
    executable(checkout / "bin" / "npm", f"echo npm $* >> {checkout}/log; mkdir -p node_modules")
    executable(
        checkout / "bin" / "node",
        f"echo node $* >> {checkout}/log; mkdir -p ../build/webclient; touch ../build/webclient/app.js",
    )
    return checkout


def test_the_web_client_is_bundled_once_and_again_when_it_changes(with_a_client: Path) -> None:
    def commands() -> list[str]:
        (with_a_client / "log").write_text("")
        done = make(with_a_client, "webclient", path=f"{with_a_client}/bin:{os.environ['PATH']}")
        assert (done.returncode, done.stderr) == (0, "")
        return (with_a_client / "log").read_text().splitlines()

    assert commands() == ["npm ci --loglevel=error --no-progress", "node build.mjs ../build/webclient"]
    assert commands() == []
    for name, expected in (("src/main.js", 1), ("package-lock.json", 2)):
        (with_a_client / "webclient" / name).touch()
        assert len(commands()) == expected
        assert commands() == []


@pytest.mark.parametrize("missing", ["node", "npm"])
def test_without_node_there_is_no_web_client_and_no_failure(with_a_client: Path, missing: str) -> None:
    (with_a_client / "bin" / missing).unlink()
    for tool in ("sh", "find", "make", "mkdir"):
        path = shutil.which(tool)
        assert path is not None
        (with_a_client / "bin" / tool).symlink_to(path)
    done = make(with_a_client, "webclient", path=f"{with_a_client}/bin")
    assert done.returncode == 0
    assert "No Node.js with npm" in done.stdout
    assert not (with_a_client / "build").exists()


def test_a_failed_bundle_does_not_keep_the_node_from_starting(with_a_client: Path) -> None:
    executable(with_a_client / "bin" / "npm", "exit 1")
    done = make(with_a_client, "webclient", path=f"{with_a_client}/bin:{os.environ['PATH']}")
    assert done.returncode == 0
    assert "could not be built" in done.stdout
