from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.programs import Program, available
from tests.wire import certs, nodes
from tests.wire.nodes import Node

USER, PASSWORD = "interop", "correct horse battery staple"
REGISTER = f"""
from apps.auth.services import registering
from apps.common.actors import SYSTEM
new = registering.NewClient(client_id={USER!r}, username={USER!r}, password={PASSWORD!r}, client_ids="*")
registering.register(SYSTEM, new)
"""


class Host:
    """A node that asks for a user name and a password, at the same ports after each start."""

    def __init__(self, directory: Path) -> None:
        self.certificates = certs.make(directory)
        self._data = directory / "data"
        nodes.migrate(self._data)
        nodes.manage(self._data, "shell", "--no-imports", "-c", REGISTER)
        with socket.socket() as tcp, socket.socket() as tls, socket.socket() as http:
            ports = []
            for each in (tcp, tls, http):
                each.bind(("127.0.0.1", 0))
                ports.append(int(each.getsockname()[1]))
        self.tcp, self.tls, self.ws = ports
        self.node = self._start()

    def _start(self) -> Node:
        return Node(
            self._data,
            AUTH__CLIENT="django",
            LISTENERS__TCP=f"tcp://127.0.0.1:{self.tcp}",
            LISTENERS__TLS=f"mqtts://127.0.0.1:{self.tls}",
            LISTENERS__HTTP=f"127.0.0.1:{self.ws}",
            LISTENERS__TLS_CERT=str(self.certificates.server),
            LISTENERS__TLS_KEY=str(self.certificates.server_key),
        )

    def restart(self) -> None:
        self.node.process.kill()
        self.node.process.wait()
        self.node.stop()
        self.node = self._start()


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    started = Host(tmp_path_factory.mktemp("interop"))
    yield started
    started.node.stop()


_tags = itertools.count()


@pytest.fixture
def interop(host: Host) -> Callable[..., dict[str, str]]:
    """interop(make, "5"): run the program that `make` builds, with more arguments; what it said by step."""

    def run(make: Callable[[], list[str]], *more: str) -> dict[str, str]:
        line = available(make)
        common = [host.tcp, host.tls, host.ws, host.certificates.ca, USER, PASSWORD, f"interop{next(_tags)}"]
        program = Program(line, [*map(str, common), *more], host.restart)
        program.run()
        return program.steps

    return run
