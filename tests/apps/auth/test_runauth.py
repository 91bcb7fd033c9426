"""`manage.py runauth`: real processes, found by a real etcd, used by a gateway's chain."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.auth.discovery.etcd import EtcdDirectory
from gmqtt_platform.config.loader import ROOT
from tests.apps.auth.chains import build, connect
from tests.apps.auth.etcds import Etcd, free_port, required

PREPARE = """
import json, os, django
django.setup()
from apps.common.actors import SYSTEM
from apps.auth.models import Role
from apps.auth.services import accounts, registering
account, secret = accounts.create(SYSTEM, "gateway-1", list(Role.objects.filter(name="gateway")))
made = registering.register(SYSTEM, registering.NewClient(client_id="alice-1", username="alice"))
print(json.dumps({"key": account.access_key, "secret": secret, "password": made.secret}))
"""


class Platform:
    """A data directory with a database, and the auth services on it."""

    def __init__(self, directory: Path, etcd: Etcd) -> None:
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("GMQTT_")}
        self.environ |= {
            "DJANGO_SETTINGS_MODULE": "gmqtt_platform.settings",
            "GMQTT_NODE__DATA_DIR": str(directory),
            "GMQTT_AUTH__DISCOVERY__PROVIDER": "etcd",
            "GMQTT_AUTH__DISCOVERY__ETCD": etcd.url,
            "GMQTT_AUTH__DISCOVERY__TTL": "3",
            "GMQTT_AUTH__SERVICE__LISTEN": "127.0.0.1:0",
        }
        self.processes: list[subprocess.Popen[str]] = []

    def run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=self.environ, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, **environ: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runauth"],
            cwd=ROOT,
            env=self.environ | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def address(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "grpc://" in line, line + (process.stderr.read() if process.stderr else "")
        return line.rpartition("grpc://")[2].strip()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    required()
    server = Etcd(tmp_path / "etcd")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def platform(tmp_path: Path, etcd: Etcd) -> Iterator[Platform]:
    (tmp_path / "data").mkdir()
    platform = Platform(tmp_path / "data", etcd)
    yield platform
    platform.close()


async def test_two_instances_one_of_which_ends(platform: Platform, etcd: Etcd) -> None:
    await asyncio.to_thread(platform.run, "manage.py", "migrate", "--verbosity", "0")
    known: dict[str, Any] = json.loads(await asyncio.to_thread(platform.run, "-c", PREPARE))
    one, two = platform.start(), platform.start()
    first = await asyncio.to_thread(platform.address, one)
    second = await asyncio.to_thread(platform.address, two)
    finder = EtcdDirectory(etcd.url, "gmqtt-auth", 3)
    assert await asyncio.to_thread(finder.instances) == {first, second}
    chain = build(
        "rpc",
        "rpc",
        rpc__access_key=known["key"],
        rpc__secret=known["secret"],
        rpc__timeout_ms="10000",  # a loaded machine takes its time over a wrong password
        discovery__provider="etcd",
        discovery__etcd=etcd.url,
        discovery__ttl="3",
        cache_size="0",
    )
    chain.bans.take([])  # no database here
    try:
        for _ in range(4):
            assert (await chain.connect(connect(password=known["password"]))).accepted
        assert (await chain.connect(connect(password="wrong"))).reason == 0x86

        one.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(one.wait, 10) == 0
        assert await asyncio.to_thread(finder.instances) == {second}
        for _ in range(4):
            assert (await chain.connect(connect(password=known["password"]))).accepted

        two.kill()  # no farewell: the lease runs out
        await asyncio.to_thread(two.wait, 10)
        assert (await chain.connect(connect(password=known["password"]))).reason == 0x88
        end = time.monotonic() + 8
        while await asyncio.to_thread(finder.instances):
            assert time.monotonic() < end
            await asyncio.sleep(0.2)
    finally:
        await chain.close()


def test_it_says_why_it_cannot_start(platform: Platform) -> None:
    platform.run("manage.py", "migrate", "--verbosity", "0")
    taken = free_port()
    cases = [
        ({"GMQTT_AUTH__DISCOVERY__ETCD": f"http://127.0.0.1:{taken}"}, "etcd"),
        ({"GMQTT_AUTH__SERVICE__LISTEN": "0.0.0.0:0"}, "advertise"),
    ]
    running = [(platform.start(**environ), word) for environ, word in cases]
    for process, word in running:
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 2
        assert "the auth service cannot start" in errors
        assert word in errors
        assert "Traceback" not in errors
