"""The database of a node, opened as settings.py says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.gmqtt_platform.conftest import Manage

COUNT = """
from django.contrib.auth.models import User
from django.db import transaction
for _ in range(100):
    with transaction.atomic():
        user = User.objects.get()
        user.last_name = str(int(user.last_name) + 1)
        user.save()
"""
LOOK = """
from django.contrib.auth.models import User
from django.db import connection
with connection.cursor() as cursor:
    print(User.objects.get().last_name, cursor.execute("PRAGMA journal_mode").fetchone()[0])
"""


def test_sqlite_writers_wait_for_each_other(manage: Manage) -> None:
    """A transaction that reads, then writes, fails at once when it has not locked at its start."""
    setup = "from django.contrib.auth.models import User; User.objects.create_user('u', last_name='0')"
    assert manage("migrate", "--verbosity", "0").returncode == 0
    assert manage("shell", "-c", setup).returncode == 0
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: manage("shell", "-c", COUNT), range(2)))
    assert [process.stderr for process in done] == ["", ""]

    assert manage("shell", "--no-imports", "-c", LOOK).stdout == "200 wal\n"
