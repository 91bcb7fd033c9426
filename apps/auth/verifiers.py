"""Quick checks of passwords that were right before: written to the database in batches, off the loop."""

from __future__ import annotations

from typing import Final

from apps.auth import passwords
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.services import credentials

WAITING: Final = 100_000  # verifiers; beyond them a slow check comes once more
BATCH_SIZE: Final = 500  # in one write


class Verifiers:
    """`note` on the loop, in microseconds; `flush` to be called every second."""

    def __init__(self) -> None:
        self._waiting: dict[int, str] = {}  # credential's id -> what to keep

    def note(self, credential_id: int, password: bytes) -> None:
        """The password was checked against the slow hash of this credential, and is right."""
        if len(self._waiting) < WAITING:
            self._waiting[credential_id] = passwords.encode_keyed(password)

    async def flush(self, database: Database) -> None:
        """While the database is away they wait on, within their bound."""
        while self._waiting:
            some = dict(list(self._waiting.items())[:BATCH_SIZE])
            try:
                await database.run(credentials.keep_verifiers, some)
            except Unavailable:
                return
            for credential_id, verifier in some.items():
                if self._waiting.get(credential_id) == verifier:
                    del self._waiting[credential_id]
