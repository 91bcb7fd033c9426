"""A user name, a subject, a claim is one client's: who gives one to a client holds it until the commit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.db import connection

FEW: Final = 50  # names that are held one by one: a lock of each takes memory that all sessions share
ALL: Final = "SELECT pg_advisory_xact_lock(16, 0)"
SOME: Final = "SELECT pg_advisory_xact_lock_shared(16, 0)"
ONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 16))"


def hold(names: Collection[str]) -> None:
    """Wait for whoever gives one of these away. Look who has them after this, in the same transaction.

    No constraint can do it: until when a credential holds its name is a matter of time. On SQLite there is
    one writer at a time anyway.
    """
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        if len(names) > FEW:
            cursor.execute(ALL)
            return
        cursor.execute(SOME)
        for name in sorted(names):  # two that want the same ones never wait for each other
            cursor.execute(ONE, [name])
