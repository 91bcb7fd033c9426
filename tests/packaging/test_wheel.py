"""The wheel holds everything, and a node runs from it in an empty directory.

Dependencies come from the environment of the tests; `make dist-test` installs them, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from apps.gateway import compiled
from gmqtt_platform.config.loader import ROOT

BUILD = "import sys, setuptools.build_meta as b; to = sys.argv[1]; b.build_sdist(to); b.build_wheel(to)"
TREE = (
    "apps",
    "conf",
    "gmqtt_platform",
    "build_core.py",
    "setup.py",
    "manage.py",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "CHANGELOG.md",
    "LICENSE",
)
CORE_BUILT = compiled.STAMP.exists() and compiled.STAMP.read_text() == compiled.fingerprint()


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist of this tree, with what has been built of core, web client and documentation."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in (*TREE, *(path.name for path in ROOT.glob("requirements*.txt"))):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    for name in ("core", "webclient", "docs"):
        if (ROOT / "build" / name).exists():
            shutil.copytree(ROOT / "build" / name, source / "build" / name)
    environ = os.environ | {"GMQTT_PURE_PYTHON": "0" if CORE_BUILT else "1"}
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(target)], cwd=source, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return target


@pytest.fixture(scope="session")
def wheel(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def tracked(*folders: str) -> set[str]:
    """The source files of the packages, without what Python writes beside them."""
    files = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    names = {str(path.relative_to(ROOT)) for path in files}
    return {name for name in names if "__pycache__" not in name and not name.endswith(".so")}


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    inside = set(names(wheel))
    assert not tracked("apps", "gmqtt_platform") - inside
    assert {f"gmqtt_platform/bundle/{name}" for name in tracked("conf")} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "tools/", "bench/"))]


def test_every_file_of_the_packages_is_in_the_sdist(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    listed = subprocess.run(["tar", "-tzf", sdist], capture_output=True, text=True, check=True).stdout.split()
    inside = {name.partition("/")[2] for name in listed}
    assert not tracked("apps", "gmqtt_platform", "conf") - inside
    assert {"LICENSE", "build_core.py", "setup.py", "requirements.txt", "requirements-build.txt"} <= inside


def test_the_wheel_is_for_a_platform_only_with_the_core(wheel: Path) -> None:
    inside = names(wheel)
    has_core = any(name.startswith("gmqtt_platform/bundle/core/") for name in inside)
    assert has_core == CORE_BUILT == (not wheel.name.endswith("-py3-none-any.whl"))


def test_what_the_wheel_needs_is_pinned(wheel: Path) -> None:
    (metadata,) = [name for name in names(wheel) if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read(metadata).decode().splitlines()
    needed = [line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist")]
    pins = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    assert sorted(needed) == sorted(pin for pin in pins if pin)
    assert "License-Expression: Apache-2.0" in lines


@pytest.fixture(scope="session")
def gmqtt(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of an environment with nothing but the wheel, and the dependencies of the tests'."""
    home = tmp_path_factory.mktemp("venv")
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    command = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--no-deps"]
    subprocess.run([*command, "--no-index", "--quiet", str(wheel)], check=True, capture_output=True)
    (here,) = [path for path in sys.path if path.endswith("site-packages")]
    (site / "dependencies.pth").write_text(here + "\n")
    return home / "bin" / "gmqtt"


@pytest.fixture
def node(gmqtt: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """A running node and the lines of its announcement."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("GMQTT_", "DJANGO"))}
    environ |= {"GMQTT_LISTENERS__TCP": "tcp://127.0.0.1:0", "GMQTT_LISTENERS__HTTP": "127.0.0.1:0"}
    process = subprocess.Popen(
        [gmqtt, "run"], cwd=tmp_path, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    said: dict[str, str] = {}
    output = []
    for line in process.stdout:  # ends with the process, if it fails
        output.append(line)
        key, _, value = line.strip().partition("  ")
        said[key] = value.strip()
        if key == "Core":
            break
    with process:
        try:
            assert process.poll() is None and "Core" in said, "".join(output)
            yield process, said
        finally:
            process.kill()


def test_a_node_runs_in_an_empty_directory(
    node: tuple[subprocess.Popen[str], dict[str, str]], tmp_path: Path
) -> None:
    process, said = node
    assert sorted(path.name for path in tmp_path.iterdir()) == ["var"]
    assert any(key.startswith("Operator account") for key in said)
    assert said["Core"].startswith("compiled by mypyc" if CORE_BUILT else "pure Python")
    web = said["Admin"].removesuffix("/admin/")
    with urllib.request.urlopen(f"{web}/healthz", timeout=10) as answer:
        assert json.load(answer)["status"] == "ok"
    with urllib.request.urlopen(f"{web}/static/console/console.css", timeout=10) as answer:
        assert answer.status == 200
    if (ROOT / "build" / "webclient" / "app.js").exists():
        with urllib.request.urlopen(f"{web}/static/webclient/app.js", timeout=10) as answer:
            assert answer.status == 200
    if (ROOT / "build" / "docs" / "index.html").exists():
        with urllib.request.urlopen(f"{web}/docs/", timeout=10) as answer:
            assert answer.status == 200 and b"gmqtt platform" in answer.read()
    assert echo(int(said["MQTT"].rpartition(":")[2])) == b"hello"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0


def echo(port: int) -> bytes:
    """What a client receives of its own publish."""
    got: list[bytes] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="packaging")
    client.on_connect = lambda *_: client.subscribe("packaging/#", 1)
    client.on_subscribe = lambda *_: client.publish("packaging/a", b"hello", 1)
    client.on_message = lambda _client, _data, message: got.append(message.payload)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + 20
    while not got and time.monotonic() < deadline:
        client.loop(0.1)
    client.disconnect()
    return b"".join(got)
