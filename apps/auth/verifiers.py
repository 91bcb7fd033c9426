"""What a right password brings: a quick check from then on, and a slow hash where there was none yet.

Both are written to the database off the loop; the hash is made on one of the threads that check passwords.
"""

from __future__ import annotations

from typing import Final

from apps.auth import passwords
from apps.auth.facts import CredentialFacts
from apps.auth.passwords import Passwords
from apps.auth.providers.base import Unavailable
from apps.auth.providers.database import Database
from apps.auth.services import credentials

WAITING: Final = 100_000  # verifiers; beyond them a slow check comes once more
UNHASHED: Final = 10_000  # passwords that wait for their hash; beyond them the next login brings them again
BATCH_SIZE: Final = 500  # in one write


class Verifiers:
    """The methods that note are for the loop and take microseconds; `flush` is to be called every second."""

    def __init__(self) -> None:
        self._waiting: dict[int, str] = {}  # credential's id -> what to keep
        self._unhashed: dict[int, tuple[str, bytes]] = {}  # credential's id -> (its keyed digest, password)
        self._hashed: dict[int, str] = {}  # those that facts in memory still show without their hash

    def note(self, credential: CredentialFacts, password: bytes) -> None:
        """The password was checked against the slow hash of this credential, and is right."""
        if len(self._waiting) < WAITING:
            self._waiting[credential.id] = passwords.encode_keyed(password)

    def note_unhashed(self, credential: CredentialFacts, password: bytes) -> None:
        """It is right by the keyed digest. Where there is no hash, one is made when there is time."""
        missing = passwords.is_keyed(credential.secret)
        if (
            missing
            and self._hashed.get(credential.id) != credential.secret
            and len(self._unhashed) < UNHASHED
        ):
            self._unhashed[credential.id] = (credential.secret, password)

    @property
    def unhashed(self) -> int:
        return len(self._unhashed)

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

    async def hash_one(self, database: Database, hasher: Passwords) -> None:
        """Make one slow hash that is missing, 0.3 s of CPU, unless somebody waits for a check."""
        if not self._unhashed or hasher.running:
            return
        credential_id, (digest, password) = next(iter(self._unhashed.items()))
        try:
            made = await hasher.encode(password)
            await database.run(credentials.keep_hash, credential_id, digest, made)
        except Unavailable:
            return
        if len(self._hashed) >= UNHASHED:
            self._hashed.clear()
        self._hashed[credential_id] = digest
        self._unhashed.pop(credential_id, None)
