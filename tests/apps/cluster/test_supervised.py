"""The shipped configuration of supervisord: a bridge that is killed comes back, and goes on where it was."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apps.cluster.support.clients import TIMEOUT, client, subscriber, until
from tools.cluster import ROOT, Cluster

SHIPPED = ROOT / "conf" / "supervisord.conf"
BRIDGE = "program:gmqtt-bridge"


@pytest.fixture
def supervised(cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """supervisord runs the bridge as the file says, but for places and user; the file of its own pid."""
    shipped = configparser.RawConfigParser()
    shipped.read(SHIPPED)
    environ = cluster.environ(0)
    program = dict(shipped[BRIDGE])
    del program["user"]
    program["command"] = program["command"].replace("/opt/gmqtt/.venv/bin", str(Path(sys.executable).parent))
    program["directory"] = str(ROOT)
    program["environment"] = program["environment"].replace(
        "/srv/gmqtt/edge-1", environ["GMQTT_NODE__DATA_DIR"]
    )
    program["stdout_logfile"] = program["stderr_logfile"] = "NONE"
    ours = configparser.RawConfigParser()
    ours["supervisord"] = {
        "nodaemon": "true",
        "pidfile": str(tmp_path / "supervisord.pid"),
        "logfile": str(tmp_path / "supervisord.log"),
        "childlogdir": str(tmp_path),
    }
    ours[BRIDGE] = program
    with (tmp_path / "supervisord.conf").open("w") as file:
        ours.write(file)
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(tmp_path / "supervisord.conf")]
    cluster.bridge.kill()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield tmp_path / "supervisord.log"
    finally:
        process.terminate()
        process.wait(30)
        cluster.bridge.start()
        assert cluster.bridge.ready.wait(TIMEOUT)


def _bridges(log: Path) -> list[int]:
    """Pids, in the order in which they were started."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [int(line.rsplit(" ", 1)[1]) for line in lines if "spawned: 'gmqtt-bridge'" in line]


def test_a_bridge_that_is_killed_is_started_again(cluster: Cluster, supervised: Path) -> None:
    a, b = cluster.nodes
    with subscriber(b, "telemetry/supervised") as messages, client(a) as publisher:

        def passes(payload: bytes) -> None:
            publisher.publish("telemetry/supervised", payload, 1).wait_for_publish(TIMEOUT)
            assert messages.get(timeout=TIMEOUT).payload == payload

        passes(b"1")
        (pid,) = _bridges(supervised)
        os.kill(pid, signal.SIGKILL)
        passes(b"2")  # by the next one
        assert len(until(lambda: _bridges(supervised)[1:], "it was not started again")) == 1
        assert messages.empty()
