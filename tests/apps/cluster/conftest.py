from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import present
from tools.cluster import Cluster
from tools.redis import Redis


@pytest.fixture(scope="session")
def cluster(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Two nodes and a bridge worker, each a process, on the run's Kafka and a Redis of their own."""
    with tempfile.TemporaryDirectory(prefix="gmqtt-") as short, present():  # a Unix socket's path is short
        redis = Redis(Path(short) / "redis")
        redis.start()
        lines: list[str] = []
        prefix = f"{Path(short).name}."
        started = Cluster(
            Path(short),
            say=lambda name, line: lines.append(f"{name}: {line}"),
            redis_url=redis.url,
            servers=kafka,
            BROKER__KAFKA__PREFIX=prefix,
        )
        try:
            with started:
                yield started
        except RuntimeError as error:
            pytest.fail(f"{error}\n" + "\n".join(lines[-60:]))
        finally:
            redis.kill()
