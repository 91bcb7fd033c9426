"""`manage.py gmqtt` against a real node with real clients."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from django.core.management import CommandError, call_command

from apps.cluster.commandline.client import Api
from gmqtt_platform.config.loader import ROOT
from tests.apps.cluster.support.commands import Run, connected, listed
from tests.wire.conftest import certificates, template, tls_settings
from tests.wire.nodes import Node, environment, until

__all__ = ["certificates", "template", "tls_settings"]

HOSTILE = "evil\x1b[2J\u202e\u2028<b>"


@pytest.fixture(scope="module")
def node(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    started = Node(tmp_path_factory.mktemp("commands") / "data", template)
    yield started
    assert started.stop() == 0, started.log()
    assert "Traceback" not in started.log()


@pytest.fixture
def run(node: Node, settings: Any) -> Run:
    """`run("clients", "list")`: what the command says, as JSON; with `table=True` as a person sees it."""
    settings.SECRET_KEY = (data_dir(node) / "secret_key").read_text().strip()

    def command(*arguments: str, table: bool = False) -> Any:
        out = io.StringIO()
        url = ["--url", f"http://127.0.0.1:{node.ws}"]
        call_command("gmqtt", *url, *([] if table else ["--json"]), *arguments, stdout=out)
        return out.getvalue() if table else json.loads(out.getvalue())

    return command


def data_dir(node: Node) -> Path:
    return node._log.with_suffix("")


def test_clients(node: Node, run: Run) -> None:
    with connected(node, "pump-1", "a/+"), connected(node, "tap-1") as tap:
        listed(run, "clients", "list", count=2)
        assert [row["client_id"] for row in run("clients", "list", "--prefix", "pump")] == ["pump-1"]
        assert "pump-1" in run("clients", "list", table=True)
        shown = run("clients", "show", "pump-1")
        assert (shown["online"], shown["transport"], shown["receive_window"]) == (True, "tcp", 1024)
        reasons: list[int] = []
        tap.on_disconnect = lambda client, got, flags, reason, properties: reasons.append(reason.value)
        assert run("clients", "kick", "tap-1")["tap-1"] == {"was_online": True}
        until(lambda: reasons)
        assert reasons[0] == 0x98
        with pytest.raises(CommandError, match="no session of client 'nobody'") as caught:
            run("clients", "kick", "nobody")
        assert caught.value.returncode == 1
    listed(run, "clients", "list", count=0)


def test_nothing_in_a_name_steers_the_terminal(node: Node, run: Run) -> None:
    with connected(node, HOSTILE):
        listed(run, "clients", "list")
        text = run("clients", "list", table=True)
        assert "evil\\x1b[2J\\u202e\\u2028<b>" in text and "\x1b" not in text
        assert run("clients", "show", HOSTILE)["client_id"] == HOSTILE
        assert "\x1b" not in run("clients", "show", HOSTILE, table=True)
        assert "\x1b" not in run("clients", "kick", HOSTILE, table=True)
    listed(run, "clients", "list", count=0)


def test_publish_subscribe_and_recipients(node: Node, run: Run, tmp_path: Path) -> None:
    with connected(node, "pump", "a/+", "$share/g/a/#") as pump:
        got = pump.user_data_get()
        listed(run, "subscriptions", "list", "--client-id", "pump", count=2)
        assert len(run("subscriptions", "recipients", "a/b")) == 2
        assert listed(run, "topics", "list", "--prefix", "a/", count=2)[0]["subscribers"] == 1
        answer = run("publish", "a/b", "--message", "hé", "--qos", "1", "--user-property", "k=v=w")
        assert answer["subscribed"]
        until(lambda: len(got) == 2)
        assert got[0].payload == "hé".encode() and got[0].properties.UserProperty == [("k", "v=w")]
        assert not run("publish", "x", "--message", "")["subscribed"]
        (tmp_path / "payload").write_bytes(b"\0\xff")
        assert run("subscribe", "pump", "x/#", "--qos", "1") == {"qos": 1}
        run("publish", "x/y", "--file", str(tmp_path / "payload"))
        until(lambda: len(got) == 3)
        assert got[2].payload == b"\0\xff"
        assert run("unsubscribe", "pump", "x/#") == {"existed": True}
        assert run("unsubscribe", "pump", "x/#") == {"existed": False}
        for wrong in (["subscribe", "pump", "a/#/b"], ["publish", "a/#", "--message", "x"]):
            with pytest.raises(CommandError, match="invalid_topic") as caught:
                run(*wrong)
            assert caught.value.returncode == 1


def test_retained(run: Run) -> None:
    for number in range(120):
        run("publish", f"r/{number:03}", "--message", "x", "--retain")
    found = run("retained", "list", "r/+", "--limit", "0")
    assert [row["topic"] for row in found] == [f"r/{number:03}" for number in range(120)]
    assert run("retained", "show", "r/001")["payload"] == "eA=="
    run("retained", "delete", "r/001")
    assert len(run("retained", "list", "r/#", "--limit", "0")) == 119
    with pytest.raises(CommandError, match="not_found"):
        run("retained", "delete", "r/001")


def test_a_long_list_waits_for_the_throttle(node: Node, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Api.pages

    def tiny(self: Api, path: str, limit: int, largest: int = 1, **query: Any) -> Any:
        return pages(self, path, limit, 1, **query)

    for number in range(130):
        run("publish", f"t/{number:03}", "--message", "x", "--retain")
    monkeypatch.setattr(Api, "pages", tiny)
    assert len(run("retained", "list", "t/+", "--limit", "0")) == 130


def test_sessions_and_their_queues(node: Node, run: Run) -> None:
    with connected(node, "offline", "q", expiry=1000):
        listed(run, "subscriptions", "list", "--client-id", "offline")
    listed(run, "sessions", "list", "--no-online")
    for number in range(3):
        run("publish", "q", "--message", str(number), "--qos", "1")
    assert listed(run, "sessions", "list", "--queued")[0]["queued"] == 3
    queue = run("sessions", "queue", "offline", "--payload")
    assert [row["payload"] for row in queue] == ["MA==", "MQ==", "Mg=="]
    with connected(node, "spare") as spare:
        listed(run, "clients", "list")
        assert run("sessions", "replay", "offline", "--to", "spare", "--limit", "2") == {"replayed": 2}
        until(lambda: len(spare.user_data_get()) == 2)
    assert run("sessions", "purge", "offline") == {"purged": 3}
    drops = listed(run, "drops", "list", "--reason", "purged")
    assert (drops[0]["client_id"], drops[0]["topic"], drops[0]["count"]) == ("offline", "q", 3)
    run("sessions", "end", "offline")
    listed(run, "sessions", "list", count=0)


def test_bans_nodes_status_and_bridge(node: Node, run: Run) -> None:
    with connected(node, "pump"):
        ban = run("ban", "add", "client_id", "pump", "--reason", "noise")
        listed(run, "clients", "list", count=0)
        assert run("ban", "list")[0]["reason"] == "noise"
        run("ban", "lift", str(ban["id"]))
    [found] = run("nodes", "list")
    assert found["live"] and found["state"] == "up" and found["stats"]["connects"] > 0
    assert run("nodes", "show", found["name"])["drops"]["queue_full"] == 0
    assert run("status")["nodes"]["up"] == 1 and run("status")["missing"] == []
    with pytest.raises(CommandError, match="node_is_up"):
        run("nodes", "forget", found["name"])
    with pytest.raises(CommandError, match="no_bridge"):
        run("bridge", "status")


def test_every_list_is_a_table(run: Run) -> None:
    for noun in ("clients", "sessions", "subscriptions", "topics", "retained", "drops", "ban", "nodes"):
        assert run(noun, "list", table=True)
    assert "online" in run("status", table=True)


def manage(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "manage.py"), "gmqtt", *arguments]
    data = settings.pop("data_dir")
    env = environment(Path(data), **settings)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)


def test_exit_codes_and_the_way_to_this_node(node: Node, tmp_path: Path) -> None:
    here = {"data_dir": str(data_dir(node)), "LISTENERS__HTTP": f"127.0.0.1:{node.ws}"}
    done = manage("clients", "list", **here)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert manage("clients", "kick", "nobody", **here).returncode == 1
    wrong = manage("clients", "explode", **here)
    assert wrong.returncode == 2 and "explode" in wrong.stderr
    unknown = manage("status", data_dir=str(data_dir(node)))
    assert unknown.returncode == 2 and "listeners.http" in unknown.stderr and "--url" in unknown.stderr
    nobody = manage("--url", "http://127.0.0.1:9", "status", **here)
    assert nobody.returncode == 3 and "No node answers at http://127.0.0.1:9" in nobody.stderr
    stranger = manage("--url", f"http://127.0.0.1:{node.ws}", "status", data_dir=str(tmp_path / "other"))
    assert stranger.returncode == 1 and "invalid_token" in stranger.stderr


def test_https_with_the_nodes_own_certificate(
    template: Path, tmp_path: Path, tls_settings: dict[str, str]
) -> None:
    with Node(tmp_path / "data", template, **tls_settings, LISTENERS__HTTP="") as node:
        settings = tls_settings | {"LISTENERS__HTTPS": f"127.0.0.1:{node.wss}", "LISTENERS__HTTP": ""}
        done = manage("status", data_dir=str(tmp_path / "data"), **settings)
        assert done.returncode == 0, done.stderr
        settings["LISTENERS__TLS_CERT"] = str(other_certificate(tmp_path))
        settings["LISTENERS__TLS_KEY"] = str(tmp_path / "other.key")
        done = manage("status", data_dir=str(tmp_path / "data"), **settings)
        assert done.returncode == 3 and "certificate" in done.stderr.lower()


def other_certificate(folder: Path) -> Path:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=other"]
    files = ["-keyout", str(folder / "other.key"), "-out", str(folder / "other.pem")]
    subprocess.run([*command, *files], check=True, capture_output=True, env=os.environ)
    return folder / "other.pem"


def test_drain_and_trace(node: Node, run: Run) -> None:
    trace_id = run("trace", "start", "client", "traced", "--seconds", "60", "--detach")["id"]
    with connected(node, "traced") as client:
        client.publish("a/b", b"1", 1).wait_for_publish(10)
    until(lambda: "PUBLISH" in run("trace", "show", trace_id, table=True))
    assert [each["id"] for each in run("trace", "list")] == [trace_id]
    run("trace", "forget", trace_id)
    assert run("trace", "list") == []
    name = run("nodes", "list")[0]["name"]
    assert run("drain", "start", name, "--rate", "50")["draining"]
    refused = paho.Client(paho.CallbackAPIVersion.VERSION2, "late", protocol=paho.MQTTv5)
    codes: list[int] = []
    refused.on_connect = lambda *arguments: codes.append(arguments[3].value)
    refused.connect("127.0.0.1", node.tcp)
    refused.loop_start()
    until(lambda: bool(codes))
    refused.loop_stop()
    assert codes[0] == 0x9C
    run("drain", "cancel", name)
    assert not run("drain", "status", name)["draining"]
