"""Two nodes with one database and one Redis: each can be asked about, and do, what is the other's."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.apps.cluster.support.commands import connected, listed
from tests.wire.conftest import template
from tests.wire.nodes import Node, until

__all__ = ["template"]


@pytest.fixture
def two(template: Path, tmp_path: Path, redis_url: str) -> Iterator[tuple[Node, Node]]:
    shutil.copytree(template, tmp_path / "data")
    # They share a directory for its database; a session store is one node's alone.
    common = {"CLUSTER__ENABLED": "true", "REDIS__URL": redis_url, "SESSIONS__PROVIDER": "mock"}
    nodes = [Node(tmp_path / "data", NODE__NAME=name, **common) for name in ("here", "there")]
    yield nodes[0], nodes[1]
    for node in nodes:
        node.stop()


def test_a_client_of_another_node(two: tuple[Node, Node], tmp_path: Path, settings: Any) -> None:
    here, there = two
    settings.SECRET_KEY = (tmp_path / "data" / "secret_key").read_text().strip()

    def run(*arguments: str) -> Any:
        out = io.StringIO()
        call_command("gmqtt", "--url", f"http://127.0.0.1:{here.ws}", "--json", *arguments, stdout=out)
        return json.loads(out.getvalue())

    with connected(there, "pump", "a/+") as pump, connected(here, "tap"):
        rows = listed(run, "clients", "list", count=2)
        assert {row["client_id"]: row["node"] for row in rows} == {"pump": "there", "tap": "here"}
        assert run("clients", "show", "pump")["receive_window"] == 1024
        assert [row["live"] for row in run("nodes", "list")] == [True, True]
        assert run("subscribe", "pump", "b", "--qos", "1") == {"qos": 1}
        assert listed(run, "topics", "list", count=2)[0]["nodes"] == {"there": 1}
        gone: list[int] = []
        pump.on_disconnect = lambda client, got, flags, reason, properties: gone.append(reason.value)
        assert run("clients", "kick", "pump") == {"pump": {"was_online": True}}
        until(lambda: gone)
        assert gone[0] == 0x98
    with connected(there, "pump"):
        listed(run, "clients", "list", "--prefix", "pump")
        there.signal(signal.SIGKILL)
        there.wait(10)
        with pytest.raises(CommandError, match="there did not answer") as caught:
            run("clients", "kick", "pump")
        assert caught.value.returncode == 1
        assert run("status")["missing"] == ["there"]
        assert run("clients", "show", "pump")["client_id"] == "pump"
