"""A fleet of registered TLS devices comes back after SIGKILL of its node, while the database is away.

`FLEET=10000 pytest -s tests/faults/embedded/test_fleet.py` is the long form.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.peers import free_ports
from gmqtt_platform.config.loader import ROOT
from tests.wire import certs, nodes
from tests.wire.nodes import Node

COUNT = int(os.environ.get("FLEET", "200"))
PROCESSES = 2
WITHIN = 60.0  # seconds from the kill until all are back
SETTLED = 20.0  # seconds until memory is looked at: what is free is given back every 10 s
REGISTER = """
import json
from apps.auth.services import registering, rules
from apps.common.actors import SYSTEM
new = [registering.NewClient(client_id=f"device-{n:05}", scram=False) for n in range(COUNT)]
made = registering.register_many(SYSTEM, new, all_or_nothing=True)
rules.create(SYSTEM, effect="allow", action="both", filter="fleet/${clientid}")
print(json.dumps({each.client.client_id: each.secret for each in made}))
"""


class Devices:
    """A part of the fleet, in a process."""

    def __init__(self, port: int, ca: Path, secrets: dict[str, str]) -> None:
        command = [sys.executable, "-m", "tests.faults.fleet", str(port), str(ca)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.come(json.dumps(secrets))

    def come(self, line: str = "again") -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def there(self) -> tuple[float, int]:
        """Wait for all of them: seconds and tries."""
        assert self._process.stdout is not None
        seconds, tries = self._process.stdout.readline().split()
        return float(seconds), int(tries)

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


def registered(data_dir: Path) -> dict[str, str]:
    """Client id -> secret."""
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "manage.py"),
            "shell",
            "-v0",
            "-c",
            REGISTER.replace("COUNT", str(COUNT)),
        ],
        env=nodes.environment(data_dir),
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    return dict(json.loads(done.stdout))


def test_a_fleet_comes_back_without_the_database(tmp_path: Path) -> None:
    data = tmp_path / "node"
    data.mkdir()
    nodes.migrate(data)
    secrets = registered(data)
    assert len(secrets) == COUNT
    certificates = certs.make(tmp_path)
    (port,) = free_ports(1)
    settings = {
        "LISTENERS__TLS": f"mqtts://127.0.0.1:{port}",
        "LISTENERS__TLS_CERT": str(certificates.server),
        "LISTENERS__TLS_KEY": str(certificates.server_key),
        "AUTH__CLIENT": "django",
        "AUTH__ACL": "django",
        "AUTH__CACHE_GRACE": "60",
    }
    node = Node(data, **settings)
    names = sorted(secrets)
    fleet = [
        Devices(port, certificates.ca, {name: secrets[name] for name in names[part::PROCESSES]})
        for part in range(PROCESSES)
    ]
    try:
        first = max(each.there()[0] for each in fleet)
        time.sleep(SETTLED if COUNT > 1000 else 3.0)
        before = node.rss()
        node.process.kill()
        killed = time.monotonic()
        for each in fleet:
            each.come()
        node.wait(10)
        assert node.process.stdout is not None
        node.process.stdout.close()
        node = Node(data, **settings, DATABASE__URL=f"postgresql://nobody@/gone?host={tmp_path}")
        listening = time.monotonic() - killed
        tries = sum(each.there()[1] for each in fleet)
        back = time.monotonic() - killed
        time.sleep(SETTLED if COUNT > 1000 else 0.0)
        after = node.rss()
        print(
            f"\n{COUNT} devices: at first there after {first:.1f} s; after SIGKILL the node listened after "
            f"{listening:.1f} s, all were back after {back:.1f} s, {tries} tries; "
            f"{before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after"
        )
        assert "the database does not answer" in node.log()
        assert back < WITHIN
        assert after < before * 1.1 + 10e6
    finally:
        for each in fleet:
            each.end()
        node.stop()
