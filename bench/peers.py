"""The brokers under test: each started on free loopback ports, pinned, and stopped by its pid."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import jwt

from .links import Endpoint
from .probe import BROKER_CPU, pin

ROOT: Final = Path(__file__).resolve().parent.parent
START_TIMEOUT: Final = 30.0  # seconds
STOP_TIMEOUT: Final = 10.0

STOPPING: Final = (signal.SIGINT, signal.SIGTERM)

PERSISTENCE: Final = ("persistence true", "autosave_interval 1", "autosave_on_changes true")
KINDS: Final = ("mosquitto", "node")
USERNAME: Final = "bench"
PASSWORD: Final = secrets.token_urlsafe(32)  # of this run; every client of mosquitto connects with it
# The node's configuration besides its addresses. It checks a signed token at each CONNECT and an ACL of two
# rules at each publish; mosquitto lets everybody do everything. Its log_type below equals this level.
NODE_ENVIRONMENT: Final = {
    "GMQTT_LOG__LEVEL": "warning",
    "GMQTT_AUTH__CLIENT": "jwt",
    "GMQTT_AUTH__ACL": "jwt",
    "GMQTT_AUTH__JWT__SECRET": PASSWORD,
}
RULES: Final = [
    {"effect": "allow", "action": "publish", "filter": "bench/+/t"},
    {"effect": "allow", "action": "both", "filter": "#"},
]


@functools.cache
def token(client_id: str) -> str:
    """What a client shows the node each time: who it is, and what it may do."""
    claims = {"sub": client_id, "exp": time.time() + 3600, "acl": RULES}
    return jwt.encode(claims, PASSWORD, algorithm="HS256")


def password(client_id: str) -> str:
    """What a client shows mosquitto, which asks for it on its WebSocket listener only."""
    return PASSWORD


class StartError(Exception):
    """A broker did not come up; the message carries the end of its log."""


class Peer:
    """A running broker: the program "node" or "mosquitto", or a second one of its kind ("mosquitto#2")."""

    def __init__(self, name: str, *, websocket: bool = False, durable: bool = False) -> None:
        """`durable`: mosquitto, too, keeps its sessions on the disk, after each change."""
        self.name = name
        self._durable = durable
        self.kind = kind = name.partition("#")[0]
        self._directory = Path(tempfile.mkdtemp(prefix=f"bench-{kind}-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            port, web_port = free_ports(2)
            if kind == "mosquitto":
                self._start_mosquitto(port, web_port if websocket else None)
            elif kind == "node":
                self._start_node(port, web_port)
            else:
                raise StartError(f"unknown peer {kind!r}; known: {', '.join(KINDS)}")
            secret = token if kind == "node" else password
            self.tcp = Endpoint(port, USERNAME, secret)
            self.websocket = Endpoint(web_port, USERNAME, secret, path="/mqtt")
            self._await(port)
            if websocket:
                self._await(web_port)
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _start_mosquitto(self, port: int, web_port: int | None) -> None:
        program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            raise StartError("mosquitto is not installed (Debian: apt-get install mosquitto)")
        lines = [
            "per_listener_settings true",
            *(PERSISTENCE if self._durable else ("persistence false",)),
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            "max_inflight_messages 65535",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            f"listener {port} 127.0.0.1",
            "allow_anonymous true",
        ]
        if web_port is not None:
            # mosquitto binds a WebSocket listener to all interfaces: only this run's password opens it
            passwords = self._directory / "passwords"
            passwords.write_text(f"{USERNAME}:{PASSWORD}\n")
            subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, timeout=10)
            self._directory.chmod(0o755)  # started as root, mosquitto reads it as another user
            passwords.chmod(0o644)
            lines += [f"listener {web_port}", "protocol websockets", "allow_anonymous false"]
            lines += [f"password_file {passwords}"]
        if self._durable:
            self._directory.chmod(0o777)  # started as root, mosquitto writes as another user
            lines.append(f"persistence_location {self._directory}/")
        config = self._directory / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n")
        self._spawn([program, "-c", str(config)], inherited())

    def _start_node(self, port: int, web_port: int) -> None:
        environment = {
            **inherited(),
            **NODE_ENVIRONMENT,
            "GMQTT_LISTENERS__TCP": f"tcp://127.0.0.1:{port}",
            "GMQTT_LISTENERS__HTTP": f"127.0.0.1:{web_port}",
            "GMQTT_NODE__DATA_DIR": str(self._directory),
        }
        manage = [sys.executable, str(ROOT / "manage.py")]
        self._spawn([*manage, "migrate", "--verbosity", "0"], environment)
        assert self._process is not None
        if self._process.wait(timeout=120):
            raise StartError(f"manage.py migrate: {self._log_tail()}")
        self._spawn([*manage, "rungateway"], environment)

    def _spawn(self, command: list[str], environment: dict[str, str]) -> None:
        def prepare() -> None:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            pin(BROKER_CPU)

        with (self._directory / "log").open("wb") as log, _uninterrupted():
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches the bench alone, which then stops the brokers
                preexec_fn=prepare,
            )

    def _await(self, port: int) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise StartError(
                    f"{self.kind} ended with code {self._process.returncode}:\n{self._log_tail()}"
                )
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                return
            time.sleep(0.05)
        raise StartError(
            f"{self.kind} did not accept on port {port} in {START_TIMEOUT:.0f} s:\n{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return (self._directory / "log").read_text(errors="replace")[-2000:]
        return ""

    def stored(self) -> int:
        """Bytes of the node's session store on the disk."""
        return sum(file.stat().st_size for file in self._directory.glob("sessions.sqlite3*"))

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self._directory, ignore_errors=True)


def inherited() -> dict[str, str]:
    """This environment without the caller's own configuration of a node, but for pure Python or compiled."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GMQTT_") or name == "GMQTT_PURE_PYTHON"
    }


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Whoever interrupts the bench waits until a broker that is being started has a name to be stopped by."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


@contextlib.contextmanager
def running(names: Sequence[str], *, websocket: bool = False, durable: bool = False) -> Iterator[list[Peer]]:
    """All the peers, up; stopped on the way out whatever happened."""
    peers: list[Peer] = []
    try:
        for name in names:
            peers.append(Peer(name, websocket=websocket, durable=durable))
        yield peers
    finally:
        for peer in peers:
            peer.stop()
