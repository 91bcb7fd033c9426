from __future__ import annotations

import http.client
import itertools
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.interop.programs import Missing, Program, available, run_together
from tests.wire import certs, nodes, shipped
from tests.wire.nodes import Node, until
from tests.wire.programs import find
from tests.wire.raw import V311, Closed, Raw, connect

USER, PASSWORD = "interop", "correct horse battery staple"
REGISTER = f"""
from apps.auth.services import registering
from apps.common.actors import SYSTEM
new = registering.NewClient(client_id={USER!r}, username={USER!r}, password={PASSWORD!r}, client_ids="*")
registering.register(SYSTEM, new)
"""
FRONTS = ("nginx", "haproxy")
SOON = {"inter 2s fall 3 rise 2": "inter 200ms fall 3 rise 2"}  # how soon HAProxy sees that the node is back


@dataclass
class Ports:
    """What `shipped` has to know of a node that does not run yet."""

    tcp: int
    tls: int
    ws: int


class Host:
    """A node that asks for a user name and a password, at the same ports after each start; its proxies.

    `balanced`: its MQTT listeners are for proxies only. `doors`: by name a plain URL and one with TLS.
    """

    def __init__(self, directory: Path, balanced: bool = False) -> None:
        self.certificates = certs.make(directory)
        self._directory = directory
        self._data = directory / "data"
        self._balanced = balanced
        nodes.migrate(self._data)
        nodes.manage(self._data, "shell", "--no-imports", "-c", REGISTER)
        self.tcp, self.tls, self.ws, self.wss = shipped.free_ports(4)
        self._proxies = ExitStack()
        self._balancer: shipped.Proxy | None = None
        self.node: Node | None = None
        self.doors = {
            "tcp": (f"tcp://localhost:{self.tcp}", f"tls://localhost:{self.tls}"),
            "ws": (f"ws://localhost:{self.ws}/mqtt", f"wss://localhost:{self.wss}/mqtt"),
        }

    def start(self) -> None:
        behind: list[Any] = [Ports(self.tcp, self.tls, self.ws)]
        if find("nginx") != "nginx" and not self._balanced:
            made = shipped.nginx(behind, self.certificates, self._directory / "nginx")
            secure = f"wss://localhost:{self._proxies.enter_context(made).https}/mqtt"
            self.doors["nginx"] = (secure, secure)
        if find("haproxy") != "haproxy":
            balancing = shipped.haproxy(behind, self.certificates, self._directory / "haproxy", SOON)
            self._balancer = proxy = self._proxies.enter_context(balancing)
            secure = f"wss://localhost:{proxy.https}/mqtt"
            self.doors["haproxy"] = (secure, secure)
            self.doors["haproxy, MQTT"] = (
                f"tcp://localhost:{proxy.mqtt}",
                f"tls://localhost:{proxy.passed}",
            )
        self.node = self._node()

    def _node(self) -> Node:
        origins = ",".join(
            url.replace("wss:", "https:").replace("ws:", "http:").removesuffix("/mqtt")
            for name, urls in self.doors.items()
            for url in urls
            if name in FRONTS
        )
        node = Node(
            self._data,
            AUTH__CLIENT="django",
            HTTP__PUBLIC_URLS=origins,
            HTTP__TRUSTED_PROXIES="127.0.0.1/32",
            LISTENERS__TCP=f"tcp://127.0.0.1:{self.tcp}",
            LISTENERS__TLS=f"mqtts://127.0.0.1:{self.tls}",
            LISTENERS__HTTP=f"127.0.0.1:{self.ws}",
            LISTENERS__HTTPS=f"127.0.0.1:{self.wss}",
            LISTENERS__TLS_CERT=str(self.certificates.server),
            LISTENERS__TLS_KEY=str(self.certificates.server_key),
            LISTENERS__PROXY_PROTOCOL=str(self._balanced).lower(),
        )
        if self._balancer is not None:
            tls = self.certificates.context()
            until(partial(_is_ready, self._balancer.https, tls), 20, "HAProxy does not see the node's HTTP")
            if self._balanced:
                until(partial(_is_through, self._balancer.mqtt, None), 20, "HAProxy does not see its MQTT")
                until(
                    partial(_is_through, self._balancer.passed, tls),
                    20,
                    "HAProxy does not see its MQTT over TLS",
                )
        return node

    def restart(self) -> None:
        assert self.node is not None
        self.node.process.kill()
        self.node.process.wait()
        self.node.stop()
        self.node = self._node()

    def stop(self) -> None:
        self._proxies.close()
        if self.node is not None:
            self.node.stop()


def _is_ready(port: int, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection("localhost", port, timeout=10, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _is_through(port: int, context: ssl.SSLContext | None) -> bool:
    """Does a CONNECT get an answer?"""
    try:
        with Raw(port, context) as client:
            client.send(connect(V311, "is-through"))
            return client.packet()[0] == 0x20
    except (Closed, OSError):
        return False


@contextmanager
def running(host: Host) -> Iterator[Host]:
    try:
        host.start()
        yield host
    finally:
        host.stop()


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(Host(tmp_path_factory.mktemp("interop"))) as started:
        yield started


@pytest.fixture(scope="session")
def balanced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with running(Host(tmp_path_factory.mktemp("balanced"), balanced=True)) as started:
        yield started


def _missing(program: str) -> list[str]:
    raise Missing(f"not installed: {program}")


_tags = itertools.count()


def runner(host: Host) -> Callable[..., None]:
    def run(make: Callable[[], list[str]], *variants: tuple[str, str]) -> None:
        line = available(make)
        programs = {}
        for version, door in variants:
            if door not in host.doors:
                available(partial(_missing, door))
            common = [*host.doors[door], str(host.certificates.ca), USER, PASSWORD, f"interop{next(_tags)}"]
            programs[f"{version} over {door}"] = Program(line, [*common, version])
        run_together(programs, host.restart)

    return run


@pytest.fixture
def interop(host: Host) -> Callable[..., None]:
    """interop(make, ("5", "ws")): the program that `make` builds, for each version and door, all at once."""
    return runner(host)
