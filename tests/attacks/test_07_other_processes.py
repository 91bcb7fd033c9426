"""Point 7: what another process changes reaches the node within a second, without Redis.

A node in a process of its own with the in-memory channel layer, an auth service or a command beside it.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from django.db import connection
from django.utils import timezone

from apps.auth import announce, following
from apps.auth.following import Announced, Changes
from apps.auth.models import Change
from apps.auth.rpc import auth_pb2 as pb
from apps.auth.rpc import auth_pb2_grpc
from apps.auth.rpc.access import CallerToken
from gmqtt_platform.config.loader import ROOT
from tests.postgres import postgresql
from tests.wire.nodes import Node, environment, migrate

PREPARE = """
import json, django
django.setup()
from apps.common.actors import SYSTEM
from apps.auth.services import registering, rules
made = registering.register(SYSTEM, registering.NewClient(client_id="alice-1", username="alice"))
rules.create(SYSTEM, effect="allow", action="both", filter="#")
print(json.dumps(made.secret))
"""
CHANGE = """
import time, django
django.setup()
from apps.common.actors import SYSTEM
from apps.auth.models import AclRule, Client
from apps.auth.services import clients, credentials, rules
client = Client.objects.get(client_id="alice-1")
{change}
print(time.time(), flush=True)
"""
CHANGES = {
    "unregistered": "clients.unregister(SYSTEM, [client])",
    "disabled": "clients.set_enabled(SYSTEM, [client], False)",
    "credential removed": "credentials.remove(SYSTEM, client.credentials.get())",
    "kicked": "clients.kick(SYSTEM, [client])",
}


def run(data_dir: Path, code: str) -> str:
    environ = environment(data_dir) | {"DJANGO_SETTINGS_MODULE": "gmqtt_platform.settings"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def text(value: str) -> bytes:
    return len(value).to_bytes(2, "big") + value.encode()


def connect(port: int, secret: str) -> tuple[socket.socket, bytes]:
    """An MQTT 3.1.1 connection of alice-1, and its CONNACK."""
    body = text("MQTT") + b"\x04\xc2\x00\x00" + text("alice-1") + text("alice") + text(secret)
    made = socket.create_connection(("127.0.0.1", port), 10)
    made.settimeout(60)
    made.sendall(b"\x10" + bytes([len(body)]) + body)
    return made, made.recv(4)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    data_dir = tmp_path_factory.mktemp("registered") / "data"
    data_dir.mkdir()
    migrate(data_dir)
    return data_dir, json.loads(run(data_dir, PREPARE))


@pytest.mark.parametrize("change", CHANGES)
def test_another_process_changes_something(template: tuple[Path, str], tmp_path: Path, change: str) -> None:
    prepared, secret = template
    auth = {"AUTH__CLIENT": "django", "AUTH__ACL": "django"}
    with Node(tmp_path / "data", prepared, **auth) as node:
        client, connack = connect(node.tcp, secret)
        assert connack == b"\x20\x02\x00\x00"
        with ThreadPoolExecutor(1) as pool:  # the command takes its time to end, too
            closed = pool.submit(lambda: (client.recv(1), time.time()))
            changed_at = float(run(node.data_dir, CHANGE.format(change=CHANGES[change])))
            received, closed_at = closed.result(10)
        assert received == b""
        assert closed_at - changed_at < 2.0  # a second, and one for a busy machine
        again, connack = connect(node.tcp, secret)
        assert (connack[3] == 0) == (change == "kicked")
        client.close()
        again.close()


@contextmanager
def auth_service(node: Node, **settings: str) -> Iterator[str]:
    """`runauth` on the node's database; the address of its gRPC port."""
    settings = {"AUTH__SERVICE__LISTEN": "127.0.0.1:0", **settings}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "runauth"],
        cwd=ROOT,
        env=environment(node.data_dir, **settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "grpc://" in line, line
        yield line.rpartition("grpc://")[2].strip()
    finally:
        process.terminate()
        process.wait(20)


ACCOUNT = """
import json, django
django.setup()
from apps.auth.models import Role
from apps.auth.services import accounts
from apps.common.actors import SYSTEM
account, secret = accounts.create(SYSTEM, "registrar-1", list(Role.objects.filter(name="registrar")))
print(json.dumps([account.access_key, secret]))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_unregistered_by_the_auth_service_beside_it(tmp_path: Path, database: str) -> None:
    """Two processes on one database, and no Redis: out within a second, and the credential is dead."""
    with ExitStack() as stack:
        shared = {"AUTH__CLIENT": "django", "AUTH__ACL": "django"}
        if database == "postgresql":
            shared["DATABASE__URL"] = stack.enter_context(postgresql())
        data = tmp_path / "data"
        data.mkdir()
        environ = environment(data, **shared) | {"DJANGO_SETTINGS_MODULE": "gmqtt_platform.settings"}

        def here(*arguments: str) -> str:
            command = [sys.executable, *arguments]
            return subprocess.run(
                command, cwd=ROOT, env=environ, check=True, capture_output=True, text=True, timeout=120
            ).stdout

        here("manage.py", "migrate", "-v0")
        secret = json.loads(here("-c", PREPARE))
        caller = CallerToken(*json.loads(here("-c", ACCOUNT)))
        node = stack.enter_context(Node(data, **shared))
        client, connack = connect(node.tcp, secret)
        assert connack == b"\x20\x02\x00\x00"
        address = stack.enter_context(auth_service(node, **shared))
        with grpc.insecure_channel(address) as channel:
            stub = auth_pb2_grpc.AuthStub(channel)
            gone = pb.UnregisterRequest(client_id="alice-1")
            stub.Unregister(gone, timeout=30, metadata=caller.metadata())
            start = time.monotonic()
            assert client.recv(1) == b""
            assert time.monotonic() - start < 2.0  # a second, and one for a busy machine
        again, connack = connect(node.tcp, secret)
        assert connack[3] != 0
        client.close()
        again.close()


# ---------------------------------------------------------------- the table of changes


@pytest.fixture
def changes(db: None) -> Changes:
    changes = Changes()
    assert changes.read() == []
    return changes


def row(what: str = "client", **values: Any) -> Change:
    return Change.objects.create(what=what, client_ids=["a"], **values)


def test_each_is_read_once_in_order(changes: Changes) -> None:
    for what in ("client", "rules", "kicked"):
        row(what)
    assert changes.read() == [Announced(each, ["a"]) for each in ("client", "rules", "kicked")]
    assert changes.read() == []


def test_a_page_at_a_time(changes: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE", 2)
    for _ in range(5):
        row()
    assert [len(changes.read() or ()) for _ in range(4)] == [2, 2, 1, 0]


def test_numbers_are_not_committed_in_their_order(changes: Changes) -> None:
    """PostgreSQL gives them when rows are written."""
    first = row("client")
    first.delete()
    row("rules")
    assert [each.what for each in changes.read() or ()] == ["rules"]
    Change.objects.create(pk=first.pk, what="client", client_ids=None)  # its transaction took longer
    assert changes.read() == [Announced("client", None)]


def test_what_was_read_long_ago_is_forgotten(changes: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    row()
    assert len(changes.read() or ()) == 1
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + following.LATE + 1)
    assert changes.read() == []
    assert not changes._seen


def test_who_was_deaf_for_too_long_takes_everything_for_changed(
    changes: Changes, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + announce.KEPT.total_seconds())
    assert changes.read() is None
    assert changes.read() == []


def test_the_table_is_bounded(changes: Changes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announce, "TRIM", 1)
    old = row()
    Change.objects.filter(pk=old.pk).update(at=timezone.now() - announce.KEPT - timedelta(seconds=1))
    announce.changed("bans", None)
    assert Change.objects.filter(what="bans").exists()
    assert not Change.objects.filter(pk=old.pk).exists()


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.django_db(transaction=True)
def test_it_is_written_with_what_it_announces(commits: bool) -> None:
    from django.db import transaction

    with transaction.atomic():
        announce.changed("client", ["a"])
        transaction.set_rollback(not commits)
    assert Change.objects.filter(what="client").exists() == commits


def test_nothing_new_is_one_query_by_the_key(changes: Changes, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1) as captured:
        assert changes.read() == []
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + captured.captured_queries[0]["sql"])
            assert "USING INTEGER PRIMARY KEY" in str(cursor.fetchall())
