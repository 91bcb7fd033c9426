"""/metrics of a real node by Prometheus' own parser; alerts and dashboards ask for what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire.nodes import Node, environment, until
from tests.wire.programs import find, needs
from tests.wire.raw import V5, Closed, Raw

TOKEN = "a-token-for-the-scraper"
ALERTS = ROOT / "conf" / "prometheus"
# What only a node of a cluster, and only an auth service, shows; tested with those.
ELSEWHERE = ("gmqtt_kafka_", "gmqtt_bridge_", "gmqtt_auth_")
NAME = re.compile(r"\b(?:gmqtt|process)_[a-z_]+\b")


@pytest.fixture(scope="module")
def scraped(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By path, with a client connected and a message that waited for the disk."""
    data_dir = tmp_path_factory.mktemp("scraped") / "data"
    settings = {"CONSOLE__METRICS_TOKEN": TOKEN, "NODE__NAME": "scraped", "LIMITS__MAX_CONNECTIONS": "1"}
    started = Node(data_dir, template, **settings)
    with started as node, Raw(node.tcp) as client:
        client.connect(V5, "client")
        with pytest.raises((Closed, AssertionError)), Raw(node.tcp) as refused:
            refused.connect(V5, "one too many")
        until(lambda: "gmqtt_database_seconds_count 0.0" not in get(node.ws, "/metrics"))
        return {path: get(node.ws, path) for path in ("/metrics", "/metrics/cluster")}


def get(port: int, path: str) -> str:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    with urllib.request.urlopen(request) as answer:
        return str(answer.read().decode())


def names(text: str) -> set[str]:
    return {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}


@needs("promtool")
@pytest.mark.parametrize("path", ["/metrics", "/metrics/cluster"])
def test_prometheus_reads_them_and_has_nothing_to_say(scraped: dict[str, str], path: str) -> None:
    command = [find("promtool"), "check", "metrics"]
    done = subprocess.run(command, input=scraped[path], capture_output=True, text=True)
    own = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("gmqtt_")]
    assert done.returncode in (0, 3) and own == []  # 3: what it says of others' metrics


@needs("promtool")
def test_the_alerts() -> None:
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([find("promtool"), *command], cwd=ALERTS, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_dashboards_ask_for_what_there_is(scraped: dict[str, str]) -> None:
    known = names(scraped["/metrics"])
    board = json.loads((ROOT / "conf" / "grafana" / "gmqtt.json").read_text())
    asked = {
        name for panel in board["panels"] for each in panel["targets"] for name in NAME.findall(each["expr"])
    }
    for line in (ALERTS / "alerts.yaml").read_text().splitlines():
        if "expr:" in line or line.startswith("          "):
            asked |= set(NAME.findall(re.sub(r'".*"|\(gmqtt_database_seconds\)', "", line)))
    here = {name for name in asked if not name.startswith(ELSEWHERE)}
    assert len(here) > 15 and here <= known, here - known


def test_the_figures(scraped: dict[str, str]) -> None:
    text = scraped["/metrics"]
    for line in (
        "gmqtt_connections 1.0",
        "gmqtt_ready 1.0",
        'gmqtt_part_works{part="directory"} 1.0',
        "gmqtt_connect_seconds_count 1.0",
    ):
        assert line in text.splitlines()
    whole = scraped["/metrics/cluster"].splitlines()
    assert "gmqtt_cluster_connections 1.0" in whole and "gmqtt_cluster_nodes 1.0" in whole
    assert 'gmqtt_cluster_node_answers{node="scraped"} 1.0' in whole


def test_a_name_has_its_unit(scraped: dict[str, str]) -> None:
    for line in scraped["/metrics"].splitlines():
        if line.startswith("# TYPE gmqtt_"):
            _, _, name, kind = line.split()
            assert kind != "counter" or name.endswith("_total")
            assert not re.search(r"byte(?!s)|second(?!s)|_ms|bytes_(in|out)$", name)


@pytest.mark.parametrize("key", ["auth_service"])
def test_a_process_without_http_of_its_own(template: Path, tmp_path: Path, free_port: int, key: str) -> None:
    settings = {
        "CONSOLE__METRICS_TOKEN": TOKEN,
        f"METRICS__{key.upper()}": f"127.0.0.1:{free_port}",
        "AUTH__SERVICE__LISTEN": "127.0.0.1:0",
    }
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "runauth"],
        env=environment(template, **settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline().startswith("Auth service")
        assert "gmqtt_build_info" in get(free_port, "/metrics")
        assert "process_resident_memory_bytes" in get(free_port, "/metrics")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(free_port, "/")
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
