"""A backup of a running platform into an empty one: equal, also in PostgreSQL and in a cluster."""

from __future__ import annotations

import base64
import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.operations.support import contents, ok, run, shell
from tests.postgres import postgresql
from tests.wire.conftest import Start
from tests.wire.nodes import Node, migrate, until

ROWS = """
from django.contrib.auth.models import User, Group
from django_otp.plugins.otp_totp.models import TOTPDevice
from guardian.shortcuts import assign_perm
from apps.common.actors import SYSTEM
from apps.auth.models import Client, Role, Credential
from apps.auth.services import accounts, bans, clients, groups, registering, rules
from apps.auth.services.registering import NewClient
from apps.cluster.models import ExportRule
from datetime import datetime, UTC

plant = groups.create(SYSTEM, "plant", "d", ["plant"])
registering.register(SYSTEM, NewClient("meter-1", groups=["plant"], password="a long pass phrase"))
registering.register(SYSTEM, NewClient("meter-2", transports=("tls",), enabled=False, client_ids="m-*"))
rules.create(SYSTEM, effect="allow", action="both", filter="plant/${clientid}/#", group=plant)
one = Client.objects.get(client_id="meter-1")
rules.create(SYSTEM, effect="deny", action="publish", filter="x", client=one)
bans.create(SYSTEM, "address", "10.0.0.0/8", datetime(2200, 1, 1, tzinfo=UTC), "why")
accounts.create_role(SYSTEM, "special", ["mqtt_auth.view_client"])
accounts.create(SYSTEM, "service", [Role.objects.get(name="special")])
ExportRule.objects.create(filter="plant/#", kafka_topic="export")
bob = User.objects.create_user("bob", password="pw", is_staff=True)
bob.groups.add(Group.objects.get(name="viewer"))
assign_perm("manage_members", bob, plant)
TOTPDevice.objects.create(user=bob, name="authenticator")
"""


def client(node: Node, client_id: str, expiry: int = 3600) -> paho.Client:
    made = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=paho.MQTTv5, manual_ack=True)
    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = expiry
    seen: list[paho.MQTTMessage] = []
    made.user_data_set(seen)
    made.on_message = lambda _client, _data, message: seen.append(message)
    made.connect("127.0.0.1", node.tcp, clean_start=False, properties=properties)
    made.loop_start()
    until(made.is_connected)
    return made


def leave(made: paho.Client) -> None:
    made.disconnect()
    made.loop_stop()


def published(made: paho.Client, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = 86_400
    properties.ContentType = "text/plain"
    properties.UserProperty = ("k", "ä")
    made.publish(topic, payload, qos, retain, properties).wait_for_publish(5)


def subscribed(made: paho.Client, *filters: str) -> None:
    done: list[object] = []
    made.on_subscribe = lambda *_arguments: done.append(1)
    made.subscribe([(each, 2) for each in filters])
    until(lambda: done)


def fill(node: Node) -> None:
    """Two sessions that are away, with a queue; one that is here, with messages in flight."""
    shell(node.data_dir, ROWS)
    for client_id in ("away-1", "away-2"):
        made = client(node, client_id)
        subscribed(made, "q/#", "$share/workers/jobs/+")
        leave(made)
    here = client(node, "here")
    subscribed(here, "flight")
    publisher = client(node, "publisher", 0)
    for number in range(30):
        published(publisher, f"q/{number}", b"\x00\xff" * number, 1 + number % 2)
    published(publisher, "flight", b"one", 2)
    published(publisher, "flight", b"two", 1)
    published(publisher, "kept/1", b"value", 1, True)
    published(publisher, "kept/ü", b"x" * 100_000, 0, True)
    until(lambda: len(here.user_data_get()) == 2)
    leave(publisher)
    leave(here)


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Path]]:
    """A running node, and a backup of it."""
    folder = tmp_path_factory.mktemp("made")
    with Node(folder / "data", template) as node:
        fill(node)
        path = folder / "first.backup"
        ok(node.data_dir, "backup", path)
        yield node, path
        assert not node.trouble(), node.trouble()


def fresh(tmp_path: Path, node: Node, name: str = "restored") -> Path:
    """An empty platform with the same secret key."""
    data = tmp_path / name
    data.mkdir()
    shutil.copy(node.data_dir / "secret_key", data)
    return data


def test_restored_platform_is_equal_and_goes_on(
    made: tuple[Node, Path], start: Start, tmp_path: Path
) -> None:
    node, path = made
    kinds = [kind for kind, _ in contents(path)]
    assert {kind: kinds.count(kind) for kind in ("session", "queued", "message", "retained")} == {
        "session": 3,
        "queued": 62,
        "message": 30,
        "retained": 2,
    }
    assert node.process.poll() is None
    data = fresh(tmp_path, node)
    ok(data, "restore", path)
    ok(data, "backup", tmp_path / "second.backup")
    assert contents(tmp_path / "second.backup") == contents(path)

    with Node(data) as restored:
        away = client(restored, "away-1")
        until(lambda: len(away.user_data_get()) == 30, 20)
        first = away.user_data_get()[0]
        assert (first.topic, first.payload) == ("q/0", b"")
        assert first.properties.UserProperty == [("k", "ä")]
        assert 0 < first.properties.MessageExpiryInterval <= 86_400
        here = client(restored, "here")
        until(
            lambda: [each.payload for each in here.user_data_get()] == [b"two"]
        )  # of "one" only PUBREL is left
        assert here.user_data_get()[0].dup
        subscribed(here, "kept/#")
        until(lambda: {each.topic for each in here.user_data_get()} >= {"kept/1", "kept/ü"})
        leave(away)
        leave(here)


def test_to_postgresql_and_to_a_cluster_and_back(
    made: tuple[Node, Path], tmp_path: Path, redis_url: str
) -> None:
    node, path = made
    with postgresql() as url:
        cluster = {
            "DATABASE__URL": url,
            "BROKER__PROVIDER": "kafka",
            "CLUSTER__ENABLED": "true",
            "SESSIONS__PROVIDER": "redis",
            "REDIS__URL": redis_url,
        }
        data = fresh(tmp_path, node, "cluster")
        ok(data, "restore", path, **cluster)
        ok(data, "backup", tmp_path / "cluster.backup", **cluster)
        assert contents(tmp_path / "cluster.backup") == contents(path)
        # What is made next has a key of its own.
        shell(
            data,
            "from apps.auth.models import Ban; Ban.objects.create(kind='username', value='x')",
            **cluster,
        )

        refused = run(data, "restore", path, **cluster)
        assert refused.returncode == 1
        assert "the database is not empty" in refused.stderr

    alone = fresh(tmp_path, node, "alone")
    ok(alone, "restore", tmp_path / "cluster.backup")
    ok(alone, "backup", tmp_path / "alone.backup")
    assert contents(tmp_path / "alone.backup") == contents(path)


def test_only_config_and_encrypted(made: tuple[Node, Path], tmp_path: Path) -> None:
    node, path = made
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse battery staple\n")
    sealed = tmp_path / "sealed.backup"
    ok(node.data_dir, "backup", sealed, "--only", "config", "--passphrase-file", secret)
    assert sealed.stat().st_mode & 0o777 == 0o600
    assert b"meter-1" not in sealed.read_bytes()
    rows = [record for record in contents(path) if "." in record[0]]
    assert contents(sealed, b"correct horse battery staple") == rows

    data = fresh(tmp_path, node)
    for arguments, why in (
        ((), "it is encrypted"),
        (("--passphrase-file", tmp_path / "wrong"), "passphrase is another one"),
    ):
        (tmp_path / "wrong").write_text("wrong")
        refused = run(data, "restore", sealed, *arguments)
        assert refused.returncode == 2
        assert why in refused.stderr
    assert not (data / "sessions.sqlite3").exists()
    ok(data, "restore", sealed, "--passphrase-file", secret)


def test_a_running_node_keeps_its_store_to_itself(
    made: tuple[Node, Path], start: Start, tmp_path: Path
) -> None:
    _, path = made
    other = start()
    refused = run(other.data_dir, "restore", path, "--new-secret-key")
    assert refused.returncode == 1
    assert "another process has it open" in refused.stderr
    assert "no such" not in shell(
        other.data_dir, "from apps.auth.models import Client; print(Client.objects.count())"
    )


def test_another_secret_key(made: tuple[Node, Path], tmp_path: Path) -> None:
    node, path = made
    keyed = "from apps.auth.models import Credential as C; c = C.objects.filter(kind='password').first()\n"
    keyed += (
        "from apps.auth.passwords import encode_keyed\nc.secret = c.verifier = encode_keyed('x'); c.save()"
    )
    shell(node.data_dir, keyed)
    path = tmp_path / "keyed.backup"
    ok(node.data_dir, "backup", path)
    data = tmp_path / "foreign"
    refused = run(data, "restore", path)
    assert refused.returncode == 1
    assert "1 passwords and 1 service accounts" in refused.stderr
    assert "--new-secret-key" in refused.stderr
    told = json.loads(ok(data, "--json", "restore", path, "--new-secret-key"))
    assert (told["passwords"], told["accounts"]) == (["meter-1"], ["service"])

    # Where the old key is among those that are still accepted only what is checked by the key itself is lost.
    rotated = tmp_path / "rotated"
    rotated.mkdir()
    shutil.copy(node.data_dir / "secret_key", rotated / "secret_key_fallbacks")
    told = json.loads(ok(rotated, "--json", "restore", path, "--new-secret-key"))
    assert told["passwords"] == ["meter-1"]
    assert "accounts" not in told
    unsealed = "from apps.common import sealing; from apps.auth.models import ServiceAccount as S\n"
    unsealed += "print(sealing.unseal('signing key', S.objects.get().signing_key))"
    (rotated / "secret_key_fallbacks").unlink()
    assert shell(rotated, unsealed).startswith("gmq_")


def test_consistent_while_clients_publish(start: Start, tmp_path: Path) -> None:
    """What was acknowledged before the backup began is in it, whatever comes meanwhile."""
    node = start()
    away = client(node, "away")
    subscribed(away, "load")
    leave(away)
    publisher = client(node, "publisher", 0)
    for number in range(500):
        published(publisher, "load", str(number).encode())
    running = True

    def more() -> None:
        number = 500
        while running:
            published(publisher, "load", str(number).encode())
            number += 1

    thread = threading.Thread(target=more)
    thread.start()
    try:
        ok(node.data_dir, "backup", tmp_path / "busy.backup")
    finally:
        running = False
        thread.join(20)
    leave(publisher)
    found = [record for record in contents(tmp_path / "busy.backup") if record[0] == "queued"]
    assert len(found) >= 500
    assert [int(base64.b64decode(values["payload"])) for _, values in found] == list(range(len(found)))


def test_migrated_and_first_operator_are_empty_enough(made: tuple[Node, Path], tmp_path: Path) -> None:
    node, path = made
    data = fresh(tmp_path, node)
    migrate(data)
    ok(data, "create-operator")
    began = time.monotonic()
    ok(data, "restore", path)
    assert time.monotonic() - began < 60
    assert (
        shell(
            data,
            "from django.contrib.auth.models import User; print(User.objects.filter(username='operator'))",
        )
        == "<QuerySet []>\n"
    )
