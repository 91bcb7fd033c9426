"""A node in use for a while: nothing of it rises.

`make soak MINUTES=60` is the long form, and draws `build/soak.svg`. CI runs a minute and a half: there it is
shown that the load runs and that nothing breaks; slopes are judged from ten minutes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from apps.gateway.operator.events import OF_CLIENT
from gmqtt_platform.config.loader import ROOT
from tests.soak.console import NAME, PASSWORD
from tests.soak.load import Load
from tests.soak.measuring import Series, picture, sample
from tests.wire import certs, nodes
from tests.wire.nodes import Node

MINUTES = float(os.environ.get("SOAK_MINUTES", "1.5"))
PAUSE = float(os.environ.get("SOAK_PAUSE", "0.05"))  # seconds after each round of a thread
ONLY = os.environ.get("SOAK_ONLY", "")  # kinds of load, by how their names begin, with commas; "": all
JUDGED = 10.0  # minutes from which on a slope says something
FILL = OF_CLIENT // 2  # connects of each client, that leave two events each
EVERY = 5.0  # seconds between samples
TOKEN = "s" * 32
LEAST = {"resident MB": 4.0, "descriptors": 8.0, "threads": 2.0, "SQLite MB": 4.0, "asyncio tasks": 10.0}
MAY_RISE = {"log KB"}  # bounded by the rate below
LOG = 60.0  # KB of log in a minute at most


def test_nothing_rises(tmp_path: Path) -> None:
    nodes.migrate(tmp_path / "template")
    certificates = certs.make(tmp_path)
    with Node(
        tmp_path / "node",
        tmp_path / "template",
        LISTENERS__TLS="mqtts://127.0.0.1:0",
        LISTENERS__HTTPS="127.0.0.1:0",
        LISTENERS__TLS_CERT=str(certificates.server),
        LISTENERS__TLS_KEY=str(certificates.server_key),
        CONSOLE__METRICS_TOKEN=TOKEN,
    ) as node:
        account = _account(tmp_path / "node")
        load = Load(node, certificates.context(), account, PAUSE, ONLY)
        if MINUTES >= JUDGED:
            load.fill(FILL)
        series: dict[str, Series] = {}
        began = time.monotonic()
        load.start()
        while (at := time.monotonic() - began) < 60 * MINUTES:
            for name, value in sample(node, TOKEN).items():
                series.setdefault(name, Series(name, least=LEAST.get(name, 0.0))).add(at, value)
            time.sleep(max(began + at + EVERY - time.monotonic(), 0.0))
        load.stop()
        rises = {name: each.rise() for name, each in series.items()}
        title = f"One node, {MINUTES:g} minutes, {sum(load.counts.values()):,} rounds"
        (ROOT / "build").mkdir(exist_ok=True)
        (ROOT / "build" / "soak.svg").write_text(picture(list(series.values()), title))
        print(f"\n{title}: {dict(load.counts)}\nfailures: {dict(load.failures)} {load.errors[:5]}")
        for name, (rise, noise) in rises.items():
            print(f"| {name} | {series[name].values[-1]:,.1f} | {rise:+,.2f} | {noise:,.2f} |")
        assert all(load.counts[name] for name in load.names), load.errors[:20]
        assert sum(load.failures.values()) <= 0.01 * sum(load.counts.values()), load.errors[:20]
        assert series["log KB"].values[-1] < LOG * max(MINUTES, 1.0), node.log()[-3000:]
        if MINUTES >= JUDGED:
            risen = {name: both for name, both in rises.items() if both[0] > both[1] and name not in MAY_RISE}
            assert not risen, risen
        assert node.stop() == 0, node.log()[-3000:]
        assert not node.trouble(), node.trouble()


def _account(data_dir: Path) -> str:
    """Key and secret, "key:secret", of a service account that may look at everything; and an operator."""
    environment = nodes.environment(data_dir)
    environment |= {"DJANGO_SUPERUSER_PASSWORD": PASSWORD, "DJANGO_SUPERUSER_EMAIL": "soak@example.org"}

    def manage(*arguments: str) -> str:
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    manage("createsuperuser", "--noinput", "--username", NAME)
    made = manage("createserviceaccount", "soak", "admin")
    return ":".join(line.split()[-1] for line in made.splitlines())
