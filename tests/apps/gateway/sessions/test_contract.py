"""The contract of session stores, kept by SQLite's."""

from __future__ import annotations

from tests.apps.gateway.sessions.contract import *  # noqa: F403
