"""A1 and A2: registered devices come back all at once, each with its own secret.

    python -m bench.auth [--devices 10000] [--rounds 3] [--scenario A1,A2]

A1: the node asks the database (`django`). A2: it asks the auth service (`rpc`), one instance and two. Cold:
the node was just started and knows nobody; warm: the devices were connected before. The node has a core of
its own; generator and auth service share the other. Exit code 1 when a device was not let in, or A1 stays
below 3,000 connects/s warm.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .peers import ROOT, StartError, free_ports, inherited
from .probe import BROKER_CPU, GENERATOR_CPU, cpu_seconds, pin, raise_file_limit
from .wire import connect

WANTED: Final = 3000  # connects/s, warm, by the database
WINDOW: Final = 256  # devices that connect at the same time
TIMEOUT: Final = 60.0  # seconds for all of them
START_TIMEOUT: Final = 30.0

PREPARE: Final = """
import json, sys
import django
django.setup()
from apps.common.actors import SYSTEM
from apps.auth.models import AclRule, ClientGroup, Role
from apps.auth.services import accounts, registering
group = ClientGroup.objects.create(name="bench")
for filter in ("devices/${clientid}/#", "groups/${group}/+"):
    AclRule.objects.create(effect="allow", action="both", filter=filter, group=group)
AclRule.objects.create(effect="allow", action="subscribe", filter="news/#")
news = [
    registering.NewClient(client_id=f"device-{n:06d}", groups=("bench",), scram=False)
    for n in range(int(sys.argv[1]))
]
made = registering.register_many(SYSTEM, news, all_or_nothing=True)
account, secret = accounts.create(SYSTEM, "gateway-1", list(Role.objects.filter(name="gateway")))
print(json.dumps({
    "devices": [[each.client.client_id, each.credential.username, each.secret] for each in made],
    "key": account.access_key,
    "secret": secret,
}))
"""


@dataclass
class Round:
    title: str
    rate: float  # connects per second
    node_us: float  # CPU of the node per connect
    service_us: float  # CPU of all instances of the auth service per connect
    refused: int

    def row(self) -> str:
        return (
            f"{self.title:<34} {self.rate:>10,.0f} {self.node_us:>12.0f} {self.service_us:>12.0f}"
            f" {self.refused:>8}"
        )


class Platform:
    """A data directory with registered devices, and the processes on it."""

    def __init__(self, devices: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="bench-auth-"))
        self.environ = inherited() | {
            "DJANGO_SETTINGS_MODULE": "gmqtt_platform.settings",
            "GMQTT_NODE__DATA_DIR": str(self.directory),
            "GMQTT_LOG__LEVEL": "warning",
            "GMQTT_LIMITS__CONNECT_RATE": "0",
        }
        self._run("manage.py", "migrate", "--verbosity", "0")
        known = json.loads(self._run("-c", PREPARE, str(devices)))
        self.devices: list[tuple[str, str, str]] = known["devices"]
        self.account = {
            "GMQTT_AUTH__RPC__ACCESS_KEY": known["key"],
            "GMQTT_AUTH__RPC__SECRET": known["secret"],
        }

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=600,
        )
        if done.returncode:
            raise StartError(done.stderr[-2000:])
        return done.stdout

    @contextlib.contextmanager
    def process(self, command: str, port: int, cpu: int, environ: dict[str, str]) -> Iterator[int]:
        """`manage.py command`, pinned, once it accepts on `port`; its pid."""
        log = self.directory / f"{command}-{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", command],
                cwd=ROOT,
                env=self.environ | environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: pin(cpu),
            )
        try:
            end = time.monotonic() + START_TIMEOUT
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                if process.poll() is not None or time.monotonic() > end:
                    raise StartError(f"{command}: {log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextlib.contextmanager
    def node(self, environ: dict[str, str]) -> Iterator[tuple[int, int]]:
        """Its port and pid."""
        port, web = free_ports(2)
        listeners = {
            "GMQTT_LISTENERS__TCP": f"tcp://127.0.0.1:{port}",
            "GMQTT_LISTENERS__HTTP": f"127.0.0.1:{web}",
        }
        with self.process("rungateway", port, BROKER_CPU, listeners | environ) as pid:
            yield port, pid

    def close(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)


def storm(port: int, devices: Sequence[tuple[str, str, str]]) -> tuple[float, int]:
    """Connect them all, at most WINDOW at a time; seconds, and how many were not let in. Then hang up."""
    packets = [connect(*device) for device in devices]
    poll = select.epoll()
    waiting: dict[int, tuple[socket.socket, bytes]] = {}
    done: list[socket.socket] = []
    refused, begun = 0, 0
    start = time.perf_counter()
    end = start + TIMEOUT
    try:
        while begun < len(packets) or waiting:
            while begun < len(packets) and len(waiting) < WINDOW:
                link = socket.socket()
                link.setblocking(False)
                link.connect_ex(("127.0.0.1", port))
                poll.register(link, select.EPOLLOUT)
                waiting[link.fileno()] = (link, packets[begun])
                begun += 1
            for number, event in poll.poll(1.0):
                link, packet = waiting[number]
                if event & select.EPOLLIN:
                    answer = link.recv(64)
                    refused += answer[:4] != b"\x20\x02\x00\x00"
                    poll.unregister(number)
                    done.append(waiting.pop(number)[0])
                elif event & (select.EPOLLERR | select.EPOLLHUP):
                    refused += 1
                    poll.unregister(number)
                    done.append(waiting.pop(number)[0])
                else:
                    link.send(packet)
                    poll.modify(number, select.EPOLLIN)
            if time.perf_counter() > end:
                refused += len(waiting) + len(packets) - begun
                break
        return time.perf_counter() - start, refused
    finally:
        poll.close()
        for link in [*done, *(link for link, _ in waiting.values())]:
            link.close()


def measure(title: str, port: int, node: int, services: Sequence[int], devices: Sequence[Any]) -> Round:
    before, others = cpu_seconds(node), sum(map(cpu_seconds, services))
    seconds, refused = storm(port, devices)
    used = cpu_seconds(node) - before
    theirs = sum(map(cpu_seconds, services)) - others
    time.sleep(1.0)  # the node says good-bye to them all, and writes down whom it saw
    count = len(devices)
    return Round(title, count / seconds, used / count * 1e6, theirs / count * 1e6, refused)


def a1(platform: Platform, rounds: int) -> Iterator[Round]:
    with platform.node({"GMQTT_AUTH__CLIENT": "django", "GMQTT_AUTH__ACL": "django"}) as (port, pid):
        yield measure("A1 django, cold", port, pid, (), platform.devices)
        for _ in range(rounds):
            yield measure("A1 django, warm", port, pid, (), platform.devices)


def a2(platform: Platform, rounds: int) -> Iterator[Round]:
    for count in (1, 2):
        ports = free_ports(count)
        environ = platform.account | {
            "GMQTT_AUTH__CLIENT": "rpc",
            "GMQTT_AUTH__ACL": "rpc",
            "GMQTT_AUTH__DISCOVERY__ADDRESSES": ",".join(f"grpc://127.0.0.1:{port}" for port in ports),
        }
        with contextlib.ExitStack() as stack:
            services = [
                stack.enter_context(
                    platform.process(
                        "runauth", port, GENERATOR_CPU, {"GMQTT_AUTH__SERVICE__LISTEN": f"127.0.0.1:{port}"}
                    )
                )
                for port in ports
            ]
            port, pid = stack.enter_context(platform.node(environ))
            named = f"A2 rpc, {count} instance{'s' * (count - 1)}"
            yield measure(f"{named}, cold", port, pid, services, platform.devices)
            for _ in range(rounds):
                yield measure(f"{named}, warm", port, pid, services, platform.devices)


SCENARIOS: Final = {"A1": a1, "A2": a2}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.auth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scenario", default="A1,A2")
    arguments = parser.parse_args()
    raise_file_limit()
    pin(GENERATOR_CPU)
    try:
        platform = Platform(arguments.devices)
        print(f"{'':<34} {'connects/s':>10} {'node us':>12} {'service us':>12} {'refused':>8}")
        results = []
        for name in arguments.scenario.split(","):
            for result in SCENARIOS[name](platform, arguments.rounds):
                print(result.row(), flush=True)
                results.append(result)
        platform.close()
    except StartError as error:
        print(error, file=sys.stderr)
        return 1
    warm = [result.rate for result in results if result.title == "A1 django, warm"]
    slow = bool(warm) and sorted(warm)[len(warm) // 2] < WANTED
    return 1 if slow or any(result.refused for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
