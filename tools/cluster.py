"""A cluster on one machine: Redis, Kafka, nodes, a bridge worker. `python -m tools.cluster`, `make cluster`.

What crashes is started again. Redis is started unless REDIS_URL names one, Kafka unless
KAFKA_BOOTSTRAP_SERVERS does. The processes share one SQLite file; GMQTT_DATABASE__URL names a PostgreSQL.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import IO

from tools import kafka as kafkas
from tools.kafka import Kafka
from tools.redis import Redis
from tools.servers import Server, free_port

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 20.0  # seconds that a process may take to stop
POLL = 0.2  # seconds between looks for what ended
SOONEST, LATEST = 1.0, 30.0  # seconds until it is started again; each time it ends early, twice as long
STEADY = 30.0  # seconds after which a process has not ended early
WORKER = (
    *("-m", "celery", "-A", "gmqtt_platform", "worker", "--bridge", "--pool", "solo"),
    *("--without-gossip", "--without-mingle", "--loglevel", "info"),
)


class Process:
    """One process of the cluster; its output goes to `say`, line by line."""

    def __init__(
        self, name: str, command: list[str], environ: Mapping[str, str], say: Callable[[str, str], None]
    ) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._say = say
        self.process: subprocess.Popen[str] | None = None
        self.ready = threading.Event()  # it said that it can be used
        self.http = self.mqtt = 0  # ports

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def start(self) -> None:
        self.ready.clear()
        self.process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is ours, and they are stopped in their order
        )
        threading.Thread(target=self._copy, args=(self.process.stdout,), daemon=True).start()

    def _copy(self, output: IO[str]) -> None:
        with output:
            for line in output:
                self._say(self.name, line.rstrip())
                if line.startswith("Core ") or line.rstrip().endswith(" ready."):
                    self.ready.set()

    def signal(self, number: int) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, patience: float) -> None:
        if self.process is None:
            return
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait(TIMEOUT)


class Cluster:
    """`start`, then `stop`; `watch` starts again what ended."""

    def __init__(
        self,
        directory: Path,
        nodes: int = 2,
        mqtt_port: int = 0,
        http_port: int = 0,
        say: Callable[[str, str], None] = lambda name, line: None,
        kafka_port: int = 0,
        redis_url: str = "",
        servers: str = "",
        alone: bool = False,
        guarded: bool = False,
        **settings: str,
    ) -> None:
        """The first node's ports, the others' follow; 0: any. `settings`: of all, without GMQTT_.

        Redis and Kafka are started unless `redis_url` and `servers` name them. `alone`: without a bridge, for
        a node that needs neither Kafka nor Redis. `guarded`: Redis and Kafka ask for passwords: other
        users of this machine reach their ports.
        """
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self.directory = directory
        self._say = say
        self.redis: Redis | None = None
        self.kafka: Kafka | None = None
        self._servers: list[Server] = []
        if not redis_url and not alone:
            self.redis = Redis(directory / "redis", guarded=guarded)
            self._servers.append(self.redis)
            redis_url = self.redis.url
        if not servers and not alone:
            self.kafka = Kafka(directory / "kafka", kafka_port, guarded=guarded)
            if guarded:
                settings = {"BROKER__KAFKA__OPTIONS": json.dumps(self.kafka.options), **settings}
            self._servers.append(self.kafka)
            servers = self.kafka.servers
        self.redis_url, self.servers = redis_url, servers
        self._settings = {
            "CONF": str(ROOT / "conf" / "conf.cluster.toml"),
            "REDIS__URL": redis_url or "redis://127.0.0.1:6379/0",
            "BROKER__KAFKA__BOOTSTRAP_SERVERS": servers or "127.0.0.1:9092",
            "BROKER__KAFKA__BRIDGE_SOCKET": str(directory / "bridge.sock"),
            "DATABASE__URL": os.environ.get("GMQTT_DATABASE__URL", ""),
            **settings,
        }
        self.nodes = [self._node(index, mqtt_port, http_port) for index in range(nodes)]
        command = [sys.executable, *WORKER, "--hostname", f"bridge@{directory.name}"]
        self.bridge = Process("bridge", command, self.environ(0), say)
        self.processes = self.nodes if alone else [*self.nodes, self.bridge]
        self._stopping = threading.Event()
        self._starting = threading.Lock()

    def _node(self, index: int, mqtt_port: int, http_port: int) -> Process:
        mqtt = mqtt_port + index if mqtt_port else free_port()
        http = http_port + index if http_port else free_port()
        ports = {"LISTENERS__TCP": f"tcp://127.0.0.1:{mqtt}", "LISTENERS__HTTP": f"127.0.0.1:{http}"}
        command = [sys.executable, "manage.py", "rungateway"]
        node = Process(f"node-{chr(97 + index)}", command, self.environ(index, **ports), self._say)
        node.mqtt, node.http = mqtt, http
        return node

    def environ(self, index: int, **more: str) -> dict[str, str]:
        """Of a process that shares a node's data directory."""
        data = self.directory / f"node-{chr(97 + index)}"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("GMQTT_")}
        keep = {name: value for name, value in os.environ.items() if name == "GMQTT_PURE_PYTHON"}
        own = {"NODE__NAME": data.name, "NODE__DATA_DIR": str(data)}
        named = {f"GMQTT_{name}": value for name, value in (self._settings | own | more).items()}
        return clean | keep | named | {"PYTHONUNBUFFERED": "1"}

    def start(self) -> None:
        """Until everything can be used."""
        for server in self._servers:
            self._say("cluster", f"{type(server).__name__} on port {server.port}, log in {server.log}")
            server.start()
        self._prepare()
        for process in self.processes:
            process.start()
        for process in self.processes:
            end = time.monotonic() + 120
            while not process.ready.wait(0.1):
                if process.has_ended or time.monotonic() > end:
                    raise RuntimeError(f"{process.name} does not start")

    def _prepare(self) -> None:
        """One database and one secret key for all: the first node's."""
        first = self.directory / "node-a"
        for command in (("migrate", "--verbosity", "0"), ("ensure_operator",)):
            done = subprocess.run(
                [sys.executable, "manage.py", *command],
                cwd=ROOT,
                env=self.environ(0),
                capture_output=True,
                text=True,
            )
            for line in (done.stdout + done.stderr).splitlines():
                self._say("cluster", line)
            if done.returncode:
                raise RuntimeError(f"manage.py {command[0]} failed: {done.stderr[-2000:]}")
        for node in self.nodes[1:]:
            data = self.directory / node.name
            data.mkdir(mode=0o700, exist_ok=True)
            for name in ("secret_key", "db.sqlite3"):
                link = data / name
                if (first / name).exists() and not link.exists():
                    link.symlink_to(first / name)

    def watch(self) -> None:
        """Start again what ended, until `stop` is called."""
        for server in self._servers:
            self._watch(type(server).__name__, server, server.launch)
        for process in self.processes:
            self._watch(process.name, process, process.start)
        self._stopping.wait()

    def _watch(self, name: str, one: Server | Process, start: Callable[[], None]) -> None:
        job = threading.Thread(target=self._keep, args=(name, one, start), name=f"keep {name}", daemon=True)
        job.start()

    def _keep(self, name: str, one: Server | Process, start: Callable[[], None]) -> None:
        """Each in a thread of its own: one that does not come up keeps no other from it."""
        wait = SOONEST
        began = time.monotonic()
        while not self._stopping.wait(POLL):
            if not one.has_ended:
                continue
            if time.monotonic() - began > STEADY:
                wait = SOONEST
            assert one.process is not None
            code = one.process.returncode
            self._say("cluster", f"{name} ended with {code}; it is started again in {wait:g} s")
            if self._stopping.wait(wait):
                return
            wait = min(2 * wait, LATEST)
            with self._starting:  # `stop` sees it started, or it is not
                if self._stopping.is_set():
                    return
                try:
                    start()
                except OSError as error:
                    self._say("cluster", f"{name} cannot be started: {error}")
            began = time.monotonic()

    def stop(self) -> None:
        """Those who need Kafka and Redis before these."""
        self._stopping.set()
        with self._starting:
            pass  # whatever was being started is there now
        for process in self.nodes:
            process.signal(signal.SIGINT)
        for process in self.nodes:
            process.wait(TIMEOUT)
        self.bridge.signal(signal.SIGTERM)
        self.bridge.wait(TIMEOUT)
        for server in reversed(self._servers):
            server.stop()

    def __enter__(self) -> Cluster:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="tools.cluster", description=__doc__)
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--mqtt-port", type=int, default=1883, help="of the first node")
    parser.add_argument("--http-port", type=int, default=8000, help="of the first node")
    parser.add_argument("--kafka-port", type=int, default=9092)
    parser.add_argument("--directory", type=Path, default=ROOT / "var" / "cluster")
    options = parser.parse_args()

    def say(name: str, line: str) -> None:
        print(f"{name:8} | {line}", flush=True)

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    signal.signal(signal.SIGINT, interrupted)
    directory = options.directory.resolve()
    cluster = Cluster(
        directory,
        options.nodes,
        options.mqtt_port,
        options.http_port,
        say,
        options.kafka_port,
        os.environ.get("REDIS_URL", ""),
        kafkas.bootstrap_servers(),
        guarded=True,
    )
    began = time.monotonic()
    try:
        cluster.start()
        say(
            "cluster",
            f"up after {time.monotonic() - began:.0f} s: Kafka {cluster.servers}",
        )
        if cluster.kafka is not None:
            say("cluster", f"Kafka asks for a password: {cluster.kafka.directory}/client.properties")
        if cluster.redis is not None:
            say(
                "cluster",
                f"Redis on port {cluster.redis.port}, password in {cluster.redis.directory}/password",
            )
        for node in cluster.nodes:
            say(
                "cluster",
                f"{node.name}: mosquitto_sub -p {node.mqtt} -t 'telemetry/#', http://127.0.0.1:{node.http}/",
            )
        cluster.watch()
    except KeyboardInterrupt:
        say("cluster", "stopping")
    except RuntimeError as error:
        raise SystemExit(f"cluster: {error}") from None
    finally:
        cluster.stop()
        say("cluster", "stopped")


if __name__ == "__main__":
    main()
