from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire import certs, nodes
from tests.wire.certs import Certificates
from tests.wire.nodes import Node

Start = Callable[..., Node]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certs.make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated data directory."""
    directory = tmp_path_factory.mktemp("template") / "data"
    nodes.migrate(directory)
    return directory


@pytest.fixture(scope="session")
def tls_settings(certificates: Certificates) -> dict[str, str]:
    return {
        "LISTENERS__TLS": "mqtts://127.0.0.1:0",
        "LISTENERS__HTTPS": "127.0.0.1:0",
        "LISTENERS__TLS_CERT": str(certificates.server),
        "LISTENERS__TLS_KEY": str(certificates.server_key),
    }


@pytest.fixture(scope="session")
def node(
    template: Path, tls_settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    """The node that well-behaved and hostile clients share: all listeners, default limits."""
    settings = tls_settings | {"NODE__SYS_INTERVAL": "1"}
    started = Node(tmp_path_factory.mktemp("node") / "data", template, **settings)
    yield started
    code = started.stop()
    assert code == 0, started.log()
    assert not started.trouble(), started.trouble()


@pytest.fixture(scope="session")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """shared(LIMITS__MAX_CONNECTIONS="3"): the node with these settings, for all tests that ask for it."""
    nodes: dict[tuple[tuple[str, str], ...], Node] = {}

    def one(**settings: str) -> Node:
        key = tuple(sorted(settings.items()))
        if key not in nodes:
            nodes[key] = Node(tmp_path_factory.mktemp("shared") / "data", template, **settings)
        return nodes[key]

    yield one
    codes = [node.stop() for node in nodes.values()]
    assert set(codes) <= {0}
    for node in nodes.values():
        assert not node.trouble(), node.trouble()


@pytest.fixture
def start(template: Path, tmp_path: Path) -> Iterator[Start]:
    """start(LIMITS__MAX_CONNECTIONS="3"): a node for one test."""
    count = itertools.count()
    started: list[Node] = []

    def one(**settings: str) -> Node:
        node = Node(tmp_path / f"node{next(count)}", template, **settings)
        started.append(node)
        return node

    yield one
    for each in started:
        each.stop()
    for each in started:
        assert not (each.quiet and each.trouble()), each.trouble()
