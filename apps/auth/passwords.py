"""Secrets: how they are made, kept and compared.

Two kinds are told apart by their shape alone. A secret that this platform generated starts with `gmq_` and
carries 256 random bits: one salted SHA-256 keeps it safe. Everything else was chosen by a human and goes
through Django's slow hashers, in a bounded thread pool. Which of the two happens depends only on what the
client sent, never on whether its user name exists, so the time it takes tells a stranger nothing.

A password that was right once is also kept as a digest by a key derived from SECRET_KEY, so that thousands
can come back at once. Only what is right is quick: what does not match goes the slow way as before.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
import stringprep
import time
import unicodedata
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings
from django.contrib.auth.hashers import check_password, make_password

from apps.auth.caches import Cache
from apps.auth.fair_queue import NOBODY, Asker, FairQueue
from apps.auth.hashers import is_foreign
from apps.common import sealing

PREFIX = "gmq_"
_GENERATED = re.compile(rb"gmq_[A-Za-z0-9_-]{43}")
_SHA256 = "sha256$"
_SCRAM = "SCRAM-SHA-256$"
_KEYED = "keyed$"
SCRAM_ITERATIONS = 4096  # what RFC 7677 asks for at least; a generated secret needs no more


def generate() -> str:
    """A new secret: 47 characters, 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def looks_generated(secret: str | bytes) -> bool:
    """Has `secret` the shape that `generate` gives? A password of a human must not have it."""
    raw = secret.encode() if isinstance(secret, str) else secret
    return _GENERATED.fullmatch(raw) is not None


def encode_generated(secret: str) -> str:
    """`sha256$salt$hex` of a generated secret. ValueError for any other: it would be too easy to guess."""
    if not looks_generated(secret):
        raise ValueError("only a generated secret may be kept as one SHA-256")
    salt = secrets.token_hex(16)
    return f"{_SHA256}{salt}${hashlib.sha256((salt + secret).encode()).hexdigest()}"


def encode_password(password: str) -> str:
    """`password` by Django's preferred hasher. Slow on purpose: not for an event loop."""
    if looks_generated(password):
        raise ValueError("a password may not look like a generated secret")
    return make_password(password)


def verify_generated(secret: bytes, encoded: Iterable[str]) -> bool:
    """Is `secret` one of the generated ones in `encoded`? Costs the same for none of them as for one."""
    found = False
    compared = False
    for each in encoded:
        if each.startswith(_SHA256):
            compared = True
            found |= _matches(secret, each)
    if not compared:
        _matches(secret, _NOBODY)
    return found


_NOBODY = f"{_SHA256}{'0' * 32}${'0' * 64}"


def _matches(secret: bytes, encoded: str) -> bool:
    _, salt, digest = encoded.split("$")
    return hmac.compare_digest(hashlib.sha256(salt.encode() + secret).hexdigest(), digest)


# ---------------------------------------------------------------- human passwords


def encode_keyed(password: str | bytes) -> str:
    """`keyed$salt$hex`: quick to check, and worth nothing to who has the database but not SECRET_KEY."""
    raw = password.encode() if isinstance(password, str) else password
    salt = secrets.token_hex(16)
    return f"{_KEYED}{salt}${hmac.digest(_peppers()[0], salt.encode() + raw, 'sha256').hex()}"


def matches_keyed(password: bytes, encoded: str) -> bool:
    """Did `encode_keyed` make `encoded` of this password, by SECRET_KEY or one that it replaced?"""
    if not encoded.startswith(_KEYED):
        return False
    _, salt, digest = encoded.split("$")
    salted = salt.encode() + password
    return any(hmac.compare_digest(hmac.digest(key, salted, "sha256").hex(), digest) for key in _peppers())


def is_keyed(encoded: str) -> bool:
    """Can it be checked with SECRET_KEY alone, and is lost with it?"""
    return encoded.startswith(_KEYED)


def _peppers() -> list[bytes]:
    return _derived(settings.SECRET_KEY, tuple(settings.SECRET_KEY_FALLBACKS))


@lru_cache(maxsize=1)
def _derived(secret_key: str, fallbacks: tuple[str, ...]) -> list[bytes]:
    return sealing.keys("password verifier")


class Passwords:
    """Checks human passwords off the event loop, at most `threads` at once and `waiting` behind them.

    Nobody waits longer than `patience` seconds, and nobody's wrong passwords go before another's right one
    (`FairQueue`).

    What was right is remembered for `ttl` seconds as a keyed digest, so a device that comes back costs
    microseconds; so is what was wrong, so a device with a stale password does not keep a core busy.
    """

    def __init__(
        self,
        threads: int = 1,
        waiting: int = 256,
        size: int = 20_000,
        ttl: float = 300.0,
        patience: float = 10.0,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._queue = FairQueue(threads, waiting, patience)
        self._key = os.urandom(32)
        self._known: Cache[bytes, bool] = Cache(size, ttl)

    async def verify(self, password: bytes, encoded: Iterable[str], asker: Asker = NOBODY) -> bool:
        """Is `password` one of `encoded` (Django's format)? `Busy` when too many wait, or nobody any more."""
        slow = [each for each in encoded if not each.startswith((_SHA256, _SCRAM, _KEYED))]
        digest = self._digest(password, slow)
        known = self._known.get(digest)
        if known is not None:
            return known
        await self._queue.enter(asker)
        seconds, found = 0.0, False
        try:
            known = self._known.get(digest)  # somebody else has asked meanwhile
            if known is None:
                start, loop = time.monotonic(), asyncio.get_running_loop()
                known = await loop.run_in_executor(self._pool, _check, password, slow)
                seconds = time.monotonic() - start
                self._known.put(digest, known)
            found = known
        finally:
            self._queue.leave(asker, seconds, found)
        return found

    def _digest(self, password: bytes, encoded: list[str]) -> bytes:
        digest = hashlib.blake2b("\n".join(encoded).encode(), key=self._key, digest_size=32)
        digest.update(b"\0" + password)
        return digest.digest()

    @property
    def running(self) -> int:
        """Checks that run or wait."""
        return self._queue.running + self._queue.waiting

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)


def _check(password: bytes, encoded: list[str]) -> bool:
    text = password.decode(errors="surrogateescape")
    if text.isprintable() or text.isascii():
        found = [check_password(text, each) for each in encoded or [_nobody()]]
        if encoded and not any(found) and any(map(is_foreign, encoded)):
            # Other brokers' hashes are quick: the time would tell that there is one.
            check_password(text, _nobody())
        return bool(encoded) and any(found)
    return False


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash of nothing that anyone can send: what an unknown user is checked against."""
    return make_password(secrets.token_hex(32))


# ---------------------------------------------------------------- SCRAM (RFC 5802, RFC 7677)


@dataclass(frozen=True)
class ScramKeys:
    """What a server keeps of a secret so that it can take part in a SCRAM-SHA-256 exchange."""

    iterations: int
    salt: bytes
    stored_key: bytes
    server_key: bytes


def encode_scram(secret: str, iterations: int = SCRAM_ITERATIONS, like: str = "") -> str:
    """`SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5803, in base64). About 2 ms at 4096.

    `like` is what this gave for another secret of the same user: with its salt both can be valid at once, as
    SCRAM shows the salt before it knows which of them the client has. "" for a secret that SASLprep does
    not allow: its client cannot use SCRAM.
    """
    known = decode_scram(like)
    salt = known.salt if known else os.urandom(16)
    try:
        prepared = saslprep(secret).encode()
    except ValueError:
        return ""
    keys = scram_keys(prepared, salt, known.iterations if known else iterations)
    coded = (base64.b64encode(part).decode() for part in (salt, keys.stored_key, keys.server_key))
    salted, stored, server = coded
    return f"{_SCRAM}{keys.iterations}:{salted}${stored}:{server}"


def saslprep(text: str) -> str:
    """RFC 4013: one spelling for a name or secret. ValueError where it holds what SASL does not allow."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else "" if stringprep.in_table_b1(c) else c for c in text
    )
    prepared = unicodedata.normalize("NFKC", mapped)
    if any(table(c) for c in prepared for table in _FORBIDDEN):
        raise ValueError("a character that SASLprep does not allow")
    if any(stringprep.in_table_d1(c) for c in prepared):  # right to left: all of it, and at both ends
        ends = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if not ends or any(stringprep.in_table_d2(c) for c in prepared):
            raise ValueError("text in both directions")
    return prepared


_FORBIDDEN = (
    stringprep.in_table_a1,
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def scram_keys(secret: bytes, salt: bytes, iterations: int) -> ScramKeys:
    salted = hashlib.pbkdf2_hmac("sha256", secret, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return ScramKeys(iterations, salt, hashlib.sha256(client_key).digest(), server_key)


def decode_scram(encoded: str) -> ScramKeys | None:
    """The keys in what `encode_scram` gave; None for anything else."""
    if not encoded.startswith(_SCRAM):
        return None
    try:
        _, head, keys = encoded.split("$")
        iterations, _, salt = head.partition(":")
        stored, _, server = keys.partition(":")
        decoded = [base64.b64decode(part, validate=True) for part in (salt, stored, server)]
        return ScramKeys(int(iterations), *decoded)
    except (ValueError, binascii.Error):
        return None
