"""Servers that tests talk to: one Kafka for all, a Redis for each worker, and some to be killed.

def test_it(kafka: str, kafka_prefix: str) -> None:     # bootstrap servers; a prefix for topics and groups
def test_it(redis_url: str) -> None:                    # empty when the test begins
def test_it(own_redis: Redis) -> None:                  # kill() and start() as you like
def test_it(own_kafka: Kafka) -> None:
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.kafka import Kafka, bootstrap_servers
from tools.redis import Redis
from tools.servers import Missing


@contextlib.contextmanager
def present() -> Iterator[None]:
    """Skip where a server is not installed; fail in CI."""
    try:
        yield
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The bootstrap servers of a Kafka that the whole run shares; `kafka_prefix` keeps tests apart."""
    if bootstrap_servers():
        return bootstrap_servers()
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "kafka.lock").open("w") as lock, present():
        fcntl.flock(lock, fcntl.LOCK_EX)
        state = shared / "kafka.json"
        if not state.exists():
            server = Kafka(shared / "kafka")
            server.start()
            state.write_text(json.dumps({"pid": server.detach(), "servers": server.servers}))
        return str(json.loads(state.read_text())["servers"])


def stop_shared(config: pytest.Config) -> None:
    base: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    state = base / "kafka.json"
    if state.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(json.loads(state.read_text())["pid"], signal.SIGKILL)


@pytest.fixture
def kafka_prefix() -> str:
    return f"t{secrets.token_hex(4)}."


@pytest.fixture(scope="session")
def _redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with present():
        server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(_redis: Redis) -> str:
    """A Redis without keys."""
    _redis.call("FLUSHALL")
    return _redis.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Redis]:
    """A Redis for one test, running."""
    with present():
        server = Redis(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Kafka]:
    """A Kafka for one test, running; it takes about five seconds to start."""
    with present():
        server = Kafka(tmp_path / "kafka")
    server.start()
    yield server
    server.kill()
