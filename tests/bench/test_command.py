from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCH = [sys.executable, "-m", "bench", "--peer", "mosquitto,mosquitto", "--rounds", "1"]

pytestmark = pytest.mark.usefixtures("mosquitto")


def test_one_table_and_json_of_a_short_run(tmp_path: Path) -> None:
    """2000 messages each way round two equal brokers."""
    wanted = tmp_path / "out.json"
    arguments = ["--scenario", "S2", "--scale", "0.02", "--json", str(wanted)]
    done = subprocess.run(
        [*BENCH, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| S2")]
    assert [row.split("|")[2].strip() for row in rows] == ["mosquitto", "mosquitto#2"]
    assert "0/0/0" in rows[0] and "CPU " in rows[1]
    written = json.loads(wanted.read_text())
    assert "--scale 0.02" in written["setting"]["command"]
    assert written["scenarios"]["S2"]["mosquitto"][0]["faults"] == {
        "lost": 0,
        "duplicated": 0,
        "reordered": 0,
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_broker_behind(number: signal.Signals) -> None:
    with subprocess.Popen([*BENCH, "--scenario", "S4"], cwd=ROOT, stderr=subprocess.PIPE, text=True) as bench:
        children = Path(f"/proc/{bench.pid}/task/{bench.pid}/children")
        deadline = time.monotonic() + 30
        while len(brokers := children.read_text().split()) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        bench.send_signal(number)
        _, errors = bench.communicate(timeout=30)
    assert bench.returncode == 128 + number
    assert "Traceback" not in errors
    assert len(brokers) == 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in brokers)
