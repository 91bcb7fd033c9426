"""The programs of "Connect a device", as they stand on the page, against a node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.docs.site import blocks
from tests.interop import test_clients as interop
from tests.interop.programs import available, built, command
from tests.wire import nodes
from tests.wire.nodes import Node
from tests.wire.programs import find

PAGES = ROOT / "docs" / "connect"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    directory = tmp_path_factory.mktemp("connect") / "data"
    nodes.migrate(directory)
    with Node(directory) as started:
        yield started


def program(page: str, language: str) -> str:
    """The first block of a page in its language."""
    return next(blocks(language, PAGES / f"{page}.md")).text


def run(node: Node, line: list[str], **environment: str) -> str:
    given = {
        "MQTT_HOST": "127.0.0.1",
        "MQTT_PORT": str(node.tcp),
        "MQTT_URL": f"tcp://127.0.0.1:{node.tcp}",
    }
    done = subprocess.run(
        [find(line[0]), *line[1:]],
        env=os.environ | given | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def made(make: Callable[[], list[str]]) -> list[str]:
    return available(make)


def test_python(node: Node, tmp_path: Path) -> None:
    (tmp_path / "device.py").write_text(program("python", "python"))
    assert run(node, [sys.executable, str(tmp_path / "device.py")]) == "devices/python-1/orders blink"


def test_c(node: Node, tmp_path: Path) -> None:
    (tmp_path / "device.c").write_text(program("c", "c"))

    def make() -> list[str]:
        command(tmp_path, "gcc", "-Wall", "-Werror", "-o", "device", "device.c", "-lpaho-mqtt3cs")
        return [str(tmp_path / "device")]

    assert run(node, made(make)) == "devices/c-1/orders blink"


def test_javascript(node: Node, tmp_path: Path) -> None:
    def make() -> list[str]:
        install = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        directory = built("js", lambda at: command(at, *install))
        (tmp_path / "node_modules").symlink_to(directory / "node_modules")
        (tmp_path / "device.mjs").write_text(program("javascript", "javascript"))
        return ["node", str(tmp_path / "device.mjs")]

    url = f"mqtt://127.0.0.1:{node.tcp}"
    assert run(node, made(make), MQTT_URL=url) == "devices/js-1/orders blink"


def test_java(node: Node, tmp_path: Path) -> None:
    (tmp_path / "Client.java").write_text(program("java", "java"))

    def make() -> list[str]:
        path = interop.maven("java")()[2].rpartition(":")[2]  # the library, built by the interop tests
        command(tmp_path, "javac", "-cp", path, "Client.java")
        return ["java", "-cp", f"{tmp_path}:{path}", "Client"]

    assert run(node, made(make)) == "devices/java-1/orders blink"


def test_go(node: Node, tmp_path: Path) -> None:
    for name in ("go.mod", "go.sum"):
        shutil.copy(ROOT / "tests" / "interop" / "go" / name, tmp_path)
    (tmp_path / "main.go").write_text(program("go", "go"))

    def make() -> list[str]:
        command(tmp_path, "go", "build", "-o", "device", ".")
        return [str(tmp_path / "device")]

    assert run(node, made(make)) == "devices/go-1/orders blink"
