"""Clients that nobody here wrote, each in the versions and over the transports that it speaks.

What else mosquitto's clients and its bridge do is in tests/wire.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from tests.interop import debian
from tests.interop.conftest import Host, runner
from tests.interop.programs import HERE, Missing, NotToBeHad, at_least, built, command

Interop = Callable[..., None]
TCP = ("tcp",)
WEB = ("ws", "nginx", "haproxy")  # MQTT over WebSocket, and what may stand between
ALL = (*TCP, *WEB)


def python(name: str) -> Callable[[], list[str]]:
    return lambda: [sys.executable, str(HERE / "python" / f"{name}_client.py")]


def test_paho_python(interop: Interop) -> None:
    interop(python("paho"), *product("345", TCP))


def test_paho_python_over_websocket(interop: Interop) -> None:
    interop(python("paho"), *product("345", WEB))


def test_aiomqtt(interop: Interop) -> None:
    interop(python("aiomqtt"), *product("345", ("tcp", "ws")), ("5", "nginx"), ("5", "haproxy"))


def test_amqtt(interop: Interop) -> None:
    interop(python("amqtt"), *product("4", ALL))


def go() -> list[str]:
    at_least("1.24", "go", "version")  # as go.mod says
    build = ("go", "build", "-o", "client", ".")
    directory = built("go", lambda at: command(at, *build, GOTOOLCHAIN="local"))
    return [str(directory / "client")]


def test_paho_go(interop: Interop) -> None:
    interop(go, *product("34", ALL))


def c() -> list[str]:
    directory = built("c", lambda at: command(at, "gcc", "-o", "client", "client.c", "-lpaho-mqtt3cs"))
    return [str(directory / "client")]


def test_paho_c(interop: Interop) -> None:
    interop(c, *product("345", ALL))


def maven(name: str) -> Callable[[], list[str]]:
    """A program in Java: its class is `Client`."""

    def make() -> list[str]:
        directory = built(
            name, lambda at: command(at, "mvn", "-q", "-B", "package", "dependency:copy-dependencies")
        )
        return ["java", "-cp", f"{directory}/target/classes:{directory}/target/dependency/*", "Client"]

    return make


def test_paho_java(interop: Interop) -> None:
    interop(maven("java"), *product("34", TCP), *product("4", WEB))


def test_vertx(interop: Interop) -> None:
    interop(maven("vertx"), ("4", "tcp"))


def test_spring_integration(interop: Interop) -> None:
    interop(maven("spring"), *product("45", ("tcp", "nginx")))


def js(library: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        directory = built(
            "js", lambda at: command(at, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
        )
        return ["node", str(directory / "client.mjs"), library]

    return make


def test_mqttjs(interop: Interop) -> None:
    interop(js("mqtt"), *product("345", TCP), *product("45", WEB))


def test_async_mqtt(interop: Interop) -> None:
    interop(js("async-mqtt"), *product("345", TCP), *product("4", WEB))


def crates(at: Path) -> None:
    """With the versions of `versions.lock`, from whatever index this machine's Cargo is set up with."""
    command(at, "cargo", "generate-lockfile", "--quiet")
    found = re.search(r'^source = "(.*)"$', (at / "Cargo.lock").read_text(), re.MULTILINE)
    assert found is not None
    (at / "Cargo.lock").write_text((at / "versions.lock").read_text().replace("@index@", found[1]))
    command(at, "cargo", "build", "--release", "--quiet", "--locked")


def rust() -> list[str]:
    at_least("1.78", "cargo", "--version")  # which reads version 4 of Cargo.lock
    directory = built("rust", crates)
    return [str(directory / "target" / "release" / "client")]


def test_rumqttc(interop: Interop) -> None:
    interop(rust, *product("45", ALL))


def test_mosquitto_clients(interop: Interop) -> None:
    """Debian 12's, which speak no WebSocket."""
    interop(lambda: [*python("mosquitto")(), ""], *product("345", TCP))


def of_release(release: str) -> Callable[[], list[str]]:
    def make() -> list[str]:
        try:
            return [*python("mosquitto")(), str(debian.mosquitto(release))]
        except Missing as reason:  # what is no release yet may be incomplete for days
            raise NotToBeHad(f"mosquitto of Debian's {release}: {reason}") from None

    return make


def test_mosquitto_clients_of_another_release(interop: Interop) -> None:
    """2.1: over WebSocket, too; there mosquitto_sub 2.1.2 leaves out the session expiry of 5.0."""
    interop(of_release("forky"), *product("345", TCP), *product("4", WEB))


@pytest.mark.parametrize("name", ["paho"])
def test_mqtt_behind_haproxy(balanced: Host, name: str) -> None:
    """TCP and TLS, with the PROXY protocol."""
    runner(balanced)(python(name), *product("345", ["haproxy, MQTT"]))
