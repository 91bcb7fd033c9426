"""Clients that nobody here wrote, each in the versions that it speaks, through what installations do.

mosquitto's clients and its bridge are in tests/wire, and MQTT.js over all transports.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.interop.programs import HERE, STEPS, built, command

Interop = Callable[..., dict[str, str]]


def complete(steps: dict[str, str], *skipped: str) -> None:
    """All were done, but for those that the client cannot do."""
    assert {step: said for step, said in steps.items() if said != "ok" and step not in skipped} == {}
    assert set(steps) == set(STEPS)


def python(name: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, str(HERE / "python" / f"{name}_client.py")]


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("version", ["3", "4", "5"])
def test_paho_python(interop: Interop, version: str, transport: str) -> None:
    complete(interop(python("paho"), version, transport))


@pytest.mark.parametrize("version", ["3", "4", "5"])
def test_aiomqtt(interop: Interop, version: str) -> None:
    complete(interop(python("aiomqtt"), version))


def test_amqtt(interop: Interop) -> None:
    complete(interop(python("amqtt")))


def go() -> list[str]:
    directory = built("go", lambda at: command(at, "go", "build", "-o", "client", "."))
    return [str(directory / "client")]


@pytest.mark.parametrize("version", ["3", "4"])
def test_paho_go(interop: Interop, version: str) -> None:
    complete(interop(go, version))


def c() -> list[str]:
    directory = built("c", lambda at: command(at, "gcc", "-o", "client", "client.c", "-lpaho-mqtt3cs"))
    return [str(directory / "client")]


@pytest.mark.parametrize("version", ["3", "4", "5"])
def test_paho_c(interop: Interop, version: str) -> None:
    complete(interop(c, version))


def maven(name: str) -> Callable[[], list[str]]:
    """A program in Java: its class is `Client`."""

    def make() -> list[str]:
        directory = built(
            name, lambda at: command(at, "mvn", "-q", "-B", "package", "dependency:copy-dependencies")
        )
        return ["java", "-cp", f"{directory}/target/classes:{directory}/target/dependency/*", "Client"]

    return make


@pytest.mark.parametrize("version", ["3", "4"])
def test_paho_java(interop: Interop, version: str) -> None:
    complete(interop(maven("java"), version))


def test_vertx(interop: Interop) -> None:
    complete(interop(maven("vertx")))


def js() -> list[str]:
    directory = built(
        "js", lambda at: command(at, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    )
    return ["node", str(directory / "client.mjs")]


@pytest.mark.parametrize("version", ["3", "4", "5"])
def test_mqttjs(interop: Interop, version: str) -> None:
    complete(interop(js, version))


def rust() -> list[str]:
    directory = built("rust", lambda at: command(at, "cargo", "build", "--release", "--quiet"))
    return [str(directory / "target" / "release" / "client")]


@pytest.mark.parametrize("version", ["4", "5"])
def test_rumqttc(interop: Interop, version: str) -> None:
    complete(interop(rust, version))
