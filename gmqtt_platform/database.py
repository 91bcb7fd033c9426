"""The [database] table as Django's DATABASES["default"]."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from gmqtt_platform.config.loader import Conf
from gmqtt_platform.datadir import database_file


def database(conf: Conf) -> dict[str, Any]:
    return _postgresql(conf.database.url) if conf.database.url else _sqlite(conf)


def _sqlite(conf: Conf) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": database_file(conf),
        "OPTIONS": {
            "timeout": 20,  # seconds to wait for another writer
            # A transaction takes the write lock at its start: one that began by reading would fail, not wait,
            # when it comes to write.
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def _postgresql(url: str) -> dict[str, Any]:
    """`url` is postgresql://user:password@host:port/name?option=value; options are libpq's (sslmode, ...)."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
        "CONN_MAX_AGE": 60,  # seconds
        "CONN_HEALTH_CHECKS": True,
    }
