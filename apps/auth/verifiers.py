"""Quick checks of passwords that were right before: written to the database in batches, off the loop."""

from __future__ import annotations

import asyncio
from typing import Final

from apps.auth import passwords
from apps.auth.hashers import is_foreign
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.services import credentials

WAITING: Final = 100_000  # verifiers; beyond them a slow check comes once more
BATCH_SIZE: Final = 500  # in one write
UPGRADES: Final = 1000  # passwords that wait for a hash of ours; beyond them the next login asks again


class Verifiers:
    """`note` on the loop, in microseconds; `flush` to be called every second."""

    def __init__(self) -> None:
        self._waiting: dict[int, str] = {}  # credential's id -> what to keep
        self._upgrades: dict[int, tuple[str, bytes]] = {}  # credential's id -> what it has, password
        self._upgraded: dict[int, str] = {}  # what facts in memory may still show of them

    def note(self, credential_id: int, password: bytes) -> None:
        """The password was checked against the slow hash of this credential, and is right."""
        if len(self._waiting) < WAITING:
            self._waiting[credential_id] = passwords.encode_keyed(password)

    def upgrade(self, credential_id: int, encoded: str, password: bytes) -> None:
        """The password is right. Replace `encoded` where another broker made it or it is no slow hash."""
        wanted = is_foreign(encoded) or passwords.is_keyed(encoded)
        if wanted and self._upgraded.get(credential_id) != encoded and len(self._upgrades) < UPGRADES:
            self._upgrades[credential_id] = (encoded, password)

    async def _upgrade(self, database: Database) -> None:
        """One, as it costs 0.3 s of CPU: clients that log in have the rest."""
        if not self._upgrades:
            return
        credential_id, (encoded, password) = next(iter(self._upgrades.items()))
        made = await asyncio.to_thread(_encoded, password)
        if made is not None:
            try:
                await database.run(credentials.replace_hash, credential_id, encoded, *made)
            except Unavailable:
                return
        if len(self._upgraded) >= UPGRADES:
            self._upgraded.clear()
        self._upgraded[credential_id] = encoded
        self._upgrades.pop(credential_id, None)

    @property
    def upgrades(self) -> int:
        """Those that wait."""
        return len(self._upgrades)

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
        await self._upgrade(database)


def _encoded(password: bytes) -> tuple[str, str] | None:
    """Its slow hash, and what SCRAM needs; None: it looks like a secret of ours, and keeps its hash."""
    text = password.decode(errors="surrogateescape")
    if passwords.looks_generated(password) or not (text.isprintable() or text.isascii()):
        return None
    return passwords.encode_password(text), passwords.encode_scram(text)
