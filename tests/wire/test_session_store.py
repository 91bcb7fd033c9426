"""A session store that cannot be used, or not any more: who is told what, and that nothing is lost."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gmqtt_platform.config.loader import ROOT
from tests.wire import raw
from tests.wire.conftest import Start
from tests.wire.nodes import Node, until

STORE = "sessions.sqlite3"


def run(data: Path) -> subprocess.CompletedProcess[str]:
    """A node that is expected to end at once."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GMQTT_")}
    environ |= {
        "GMQTT_NODE__DATA_DIR": str(data),
        "GMQTT_LISTENERS__TCP": "tcp://127.0.0.1:0",
        "GMQTT_LISTENERS__HTTP": "127.0.0.1:0",
    }
    command = [sys.executable, "manage.py", "rungateway"]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for text in ("sessions.provider", STORE, "move the file away", *said):
        assert text in done.stderr


def _garbage(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE songs (title TEXT)")
    database.close()


def _newer(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE sessions (key INTEGER)")
        database.execute(f"PRAGMA application_id = {0x676D7174}")
        database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_garbage, "not a database"),
        (_foreign, "not a session store of this program"),
        (_newer, "its version is 99"),
        (Path.mkdir, "directory"),
    ],
)
def test_a_file_that_is_no_store_of_ours(
    template: Path, tmp_path: Path, spoil: Callable[[Path], None], said: str
) -> None:
    data = tmp_path / "data"
    shutil.copytree(template, data)
    (data / STORE).unlink(missing_ok=True)
    spoil(data / STORE)
    refused(run(data), said)
    assert (data / STORE).exists()  # nothing was done to it


def test_two_nodes_with_one_store(start: Start) -> None:
    node = start()
    refused(run(node.data_dir), "another process has it open")


class Client:
    """A client of MQTT 5 whose session stays for an hour."""

    def __init__(self, node: Node, name: str, clean: bool = False) -> None:
        self.got: list[bytes] = []
        self.acknowledged: dict[int, int] = {}  # message id -> reason code
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600
        self.client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_publish = self._published
        self.client.on_message = lambda client, data, message: self.got.append(message.payload)
        self.client.on_subscribe = lambda *args: self.subscribed.append(args)
        self.subscribed: list[Any] = []
        self.client.connect("127.0.0.1", node.tcp, clean_start=clean, properties=properties)
        self.client.loop_start()
        until(self.client.is_connected)

    def _published(self, client: Any, data: Any, mid: int, reason: Any, properties: Any) -> None:
        self.acknowledged[mid] = reason.value

    def publish(self, topic: str, payload: bytes) -> int:
        """The reason code of its PUBACK."""
        mid = self.client.publish(topic, payload, 1).mid
        until(lambda: mid in self.acknowledged)
        return self.acknowledged[mid]

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def asked(node: Node, path: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{node.ws}{path}", timeout=10) as answer:
            return dict(json.load(answer))
    except HTTPError as error:
        with error:
            return dict(json.load(error))


def test_a_full_disk(start: Start) -> None:
    """The system lets the process write no larger files; then it does again."""
    node = start()
    node.quiet = False  # an operator should see this
    reader = Client(node, "reader")
    reader.client.subscribe("a", 1)
    until(lambda: reader.subscribed)
    reader.stop()
    writer = Client(node, "writer", clean=True)
    taken = [b"%06d" % number + bytes(10_000) for number in range(50)]
    assert [writer.publish("a", payload) for payload in taken] == [0] * 50
    assert asked(node, "/healthz") == {"status": "ok"} and asked(node, "/readyz")["ready"]
    _, hard = resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (600_000, hard))
    reasons = [writer.publish("a", b"x%06d" % number + bytes(10_000)) for number in range(40)]
    full = reasons.index(0x97)
    assert set(reasons[full:]) == {0x97} and full < 40
    assert asked(node, "/healthz") == {"status": "degraded", "failing": ["sessions"]}
    assert asked(node, "/readyz")["reasons"] == {"sessions": "sessions cannot be stored"}
    assert "sessions cannot be stored" in node.log()
    assert writer.publish("nobody/durable", b"x") in (0, 0x10)  # others go on
    resource.prlimit(node.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    deadline = time.monotonic() + 20
    while writer.publish("a", b"again") != 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert asked(node, "/healthz") == {"status": "ok"} and asked(node, "/readyz")["ready"]
    writer.stop()
    node.process.kill()
    node.process.wait()
    again = Node(node.data_dir)
    try:
        reader = Client(again, "reader")
        until(lambda: b"again" in reader.got)
        expected = [*taken, *(b"x%06d" % number + bytes(10_000) for number in range(full)), b"again"]
        assert reader.got == expected  # all that was acknowledged, and nothing that was not
        reader.stop()
    finally:
        again.stop()


def directory_of(node: Node) -> list[tuple[str, int]]:
    """(client id, online) of the sessions that the console shows."""
    database = sqlite3.connect(node.data_dir / "db.sqlite3")
    try:
        return database.execute("SELECT client_id, online FROM cluster_sessioninfo").fetchall()
    finally:
        database.close()


def test_the_directory_keeps_what_the_store_keeps(start: Start) -> None:
    """A node that stops leaves persistent sessions in the console, and only those."""
    node = start(NODE__NAME="n")
    for name, properties in (("kept", b"\x11\0\0\x0e\x10"), ("clean", b"")):
        with raw.Raw(node.tcp) as client:
            client.connect(raw.V5, name, properties=properties)
            until(lambda name=name: (name, 1) in directory_of(node))
    until(lambda: ("kept", 0) in directory_of(node))
    assert node.stop() == 0
    assert directory_of(node) == [("kept", 0)]
