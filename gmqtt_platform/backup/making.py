"""From a platform into a file. Nodes may be running: nothing is stopped or locked for it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.utils import timezone

from apps.common import audit, sealing
from apps.common.actors import Actor
from gmqtt_platform import __version__
from gmqtt_platform.backup import rows, stores
from gmqtt_platform.backup.container import MANIFEST, Writer
from gmqtt_platform.config.loader import Conf

KEY_PURPOSE = "backup"  # what SECRET_KEY is recognized by


@dataclass(frozen=True)
class Made:
    counts: Counter[str]  # records by kind
    keeps: bool  # sessions and retained messages are in it
    seconds: float


def make(actor: Actor, conf: Conf, path: Path, passphrase: bytes = b"", only_config: bool = False) -> Made:
    """`path` is there when all is, and not before. OSError, StoreError, RedisError."""
    began = time.monotonic()
    new = path.with_name(f"{path.name}.part")
    source = None if only_config else stores.contents(conf, time.time())
    counts: Counter[str] = Counter()
    try:
        with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            writer = Writer(file, passphrase)
            writer.write(MANIFEST, manifest(conf, source is not None))
            with snapshot():
                names = rows.Names()
                for table in rows.TABLES:
                    for values in rows.read(table, names):
                        writer.write(table, values)
                        counts[table] += 1
            for kind, values in stores.records(source) if source is not None else ():
                writer.write(kind, values)
                counts[kind] += 1
            writer.close()
            file.flush()
            os.fsync(file.fileno())
        os.link(new, path)  # unlike a rename it does not replace another backup
    finally:
        new.unlink(missing_ok=True)
        if source is not None:
            source.close()
    with audit.by(actor):
        about = get_user_model()(username=path.name[:150])
        audit.did(about, "backed up", records=counts.total(), encrypted=bool(passphrase), config=only_config)
    return Made(counts, source is not None, time.monotonic() - began)


def manifest(conf: Conf, keeps: bool) -> dict[str, Any]:
    applied = MigrationRecorder(connection).applied_migrations()
    return {
        "version": __version__,
        "made": timezone.now().isoformat(),
        "node": conf.node.name,
        "migrations": {
            app: max((name for label, name in applied if label == app), default="") for app in rows.APPS
        },
        "secret_key": fingerprints()[0],
        "sessions": keeps,
    }


def fingerprints() -> list[str]:
    """Of the present secret key, then of those that it replaced; they tell nothing of the key."""
    return [key.hex()[:32] for key in sealing.keys(KEY_PURPOSE)]


@contextmanager
def snapshot() -> Iterator[None]:
    """The database as it is now, whatever is written meanwhile. Nobody waits for it, on SQLite neither."""
    postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY" if postgresql else "BEGIN DEFERRED")
        try:
            yield
        finally:
            cursor.execute("ROLLBACK")
