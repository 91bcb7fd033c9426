"""A rolling upgrade: nodes of an older version and of this one in a cluster, drained and replaced one by one.

Publishers at QoS 1 and 2 and a subscriber at each, all with persistent sessions, that go to the next node
when theirs sends them away. Nothing that was acknowledged is lost, QoS 2 comes once, nobody is disconnected
more than once for each node that is replaced. UPGRADE_FROM names the commit of the older version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.cluster.commandline.client import Api
from apps.cluster.commandline.nouns import node_of
from gmqtt_platform import local
from gmqtt_platform.config.loader import ROOT
from tests.faults.cluster.traffic import TIMEOUT, Peer, Publisher
from tests.services import present
from tools.cluster import Cluster, Process

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
OLD = os.environ.get("UPGRADE_FROM", "60e05ba")  # the last one that names no version of its protocol
PAUSE = float(os.environ.get("UPGRADE_SECONDS", "2"))  # of traffic between two steps
NEW_VERSION = "999.0.0"


def sources(directory: Path, commit: str) -> Path:
    """The files of a commit; "": of this working tree, under another version."""
    directory.mkdir()
    if commit:
        done = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True)
        if done.returncode:
            pytest.skip(f"this checkout does not have commit {commit}: git fetch --unshallow")
        subprocess.run(["tar", "-x", "-C", str(directory)], input=done.stdout, check=True)
        return directory
    for name in ("apps", "gmqtt_platform", "conf", "manage.py"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(directory)], check=True)
    init = directory / "gmqtt_platform" / "__init__.py"
    lines = init.read_text().splitlines()
    changed = [f'__version__ = "{NEW_VERSION}"' if x.startswith("__version__") else x for x in lines]
    init.write_text("\n".join(changed) + "\n")
    return directory


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Path]]:
    """Two nodes and a bridge of the old version, running; and the sources of the new one."""
    with tempfile.TemporaryDirectory(prefix="gmqtt-") as short, present():
        old, new = sources(Path(short) / "old", OLD), sources(Path(short) / "new", "")
        lines: list[str] = []
        monkeypatch.setattr("tools.cluster.ROOT", old)
        started = Cluster(
            Path(short) / "run", say=lambda name, line: lines.append(f"{time.time():.1f} {name}: {line}")
        )
        try:
            with started:
                yield started, new
        except RuntimeError as error:
            pytest.fail(f"{error}\n" + "\n".join(lines[-60:]))
        finally:
            print("\n".join(lines[-200:]))


def api(node: Process) -> Api:
    """As an operator's command on the node's machine; its secret key is in the settings."""
    return Api(f"http://127.0.0.1:{node.http}", local.token)


def row(node: Process) -> dict[str, Any]:
    return node_of(api(node), node.name)


def until(condition: Any, what: str, patience: float = TIMEOUT) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def ready(node: Process) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.http}/readyz", timeout=5) as answer:
            return bool(json.load(answer)["ready"])
    except OSError:
        return False


class Counted:
    """How often a client was disconnected, and where it goes then: to the other node."""

    def __init__(self, peer: Peer, first: int) -> None:
        self.peer = peer
        self.at = first
        self.ends = 0
        self._lock = threading.Lock()
        peer.client.on_disconnect = self._ended

    def _ended(self, *_: Any) -> None:
        self.peer.online.clear()
        with self._lock:
            self.ends += 1
            self.at += 1
        self.peer.client._port = self.peer._ports[self.at % len(self.peer._ports)]


def replace(cluster: Cluster, index: int, clients: list[Counted]) -> None:
    """Drain the node, stop it, and start the new version in its place."""
    node = cluster.nodes[index]
    ends = [each.ends for each in clients]
    api(node).post(f"cluster/nodes/{row(node)['id']}/drain/", {"rate": 10})
    until(lambda: row(node)["stats"]["connections"] == 0, "the node is not empty")
    until(lambda: all(each.peer.online.is_set() for each in clients), "a client did not find the other node")
    node.signal(2)
    node.wait(60)
    replaced = Process(node.name, node._command, node._environ, node._say)
    replaced.mqtt, replaced.http = node.mqtt, node.http
    cluster.nodes[index] = replaced
    cluster.processes[cluster.processes.index(node)] = replaced
    replaced.start()
    assert replaced.ready.wait(120), f"{node.name} does not start"
    until(lambda: ready(replaced), "the new node is not ready")
    more = [each.ends - before for each, before in zip(clients, ends, strict=True)]
    assert max(more) <= 1, more


def test_node_by_node(cluster: tuple[Cluster, Path], monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    running, new = cluster
    settings.SECRET_KEY = (running.directory / "node-a" / "secret_key").read_text().strip()
    ports = [node.mqtt for node in running.nodes]
    publishers = [Publisher(number, qos, ports) for qos in (1, 2) for number in range(2)]
    readers = [Peer(f"reader-{qos}", ports) for qos in (1, 2)]
    clients = [Counted(each, index % 2) for index, each in enumerate([*readers, *publishers])]
    for counted in clients[: len(readers)]:
        counted.peer.start(counted.at)
        assert counted.peer.online.wait(TIMEOUT)
        qos = int(counted.peer.name[-1])
        counted.peer.subscribe(f"durable/{qos}/#", qos)
    for counted in clients[len(readers) :]:
        counted.peer.start(counted.at)
    time.sleep(PAUSE)
    environ = running.nodes[0]._environ
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=new, env=environ, check=True, timeout=120)
    monkeypatch.setattr("tools.cluster.ROOT", new)
    for index in range(len(running.nodes)):
        replace(running, index, clients)
        time.sleep(PAUSE)
    running.bridge.signal(15)
    running.bridge.wait(60)
    running.bridge.start()
    assert running.bridge.ready.wait(120)
    time.sleep(PAUSE)
    for publisher in publishers:
        publisher.finish()
    until(lambda: all(each.acknowledged == each.sent for each in publishers), "not all is acknowledged")
    for reader in readers:
        expected = sorted(
            f"{each.topic}/{number}"
            for each in publishers
            if each.qos == int(reader.name[-1])
            for number in range(each.sent)
        )
        until(lambda reader=reader, expected=expected: set(expected) <= set(reader.got), "lost")
        assert reader.lost_session == 0
        if reader.name.endswith("2"):
            assert sorted(reader.got) == expected
    assert {row(node)["version"] for node in running.nodes} == {NEW_VERSION}
    ends = [each.ends for each in clients]
    print(f"{sum(each.sent for each in publishers)} messages, disconnects of each client: {ends}")
    assert max(ends) <= len(running.nodes)
    for counted in clients:
        counted.peer.stop()
