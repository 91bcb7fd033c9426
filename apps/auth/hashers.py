"""Password hashes of other brokers, checked as they are (`settings.PASSWORD_HASHERS`), and never made.

    mosquitto_sha512$<salt>$<digest>                       mosquitto 1.6 ($6$), base64
    mosquitto_pbkdf2$<iterations>$<salt>$<digest>          mosquitto 2 ($7$), PBKDF2-HMAC-SHA-512
    emqx_digest$<name>$<prefix|suffix|disable>$<salt>$<digest>    EMQX: md5, sha, sha256 ...; in hex
    emqx_pbkdf2$<name>$<iterations>$<salt>$<digest>        EMQX
    bcrypt$$2b$...                                         Django's own form, of EMQX' bcrypt

The first right login puts a hash of this platform in its place (`verifiers.py`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

from django.contrib.auth.hashers import BasePasswordHasher

# EMQX' names -> hashlib's
DIGESTS: Final = {name: name for name in ("md5", "sha224", "sha256", "sha384", "sha512")} | {"sha": "sha1"}
MOST_ITERATIONS: Final = 2_000_000  # of a file that somebody made: about a second
LONGEST: Final = 256  # of Credential.secret


class _Foreign(BasePasswordHasher):
    """`verify` alone; what it needs of Django's class is the name."""

    def verify(self, password: str, encoded: str) -> bool:
        try:
            return self._fits(password.encode(errors="surrogateescape"), encoded.split("$")[1:])
        except (ValueError, binascii.Error):
            return False

    def _fits(self, password: bytes, parts: list[str]) -> bool:
        raise NotImplementedError

    def encode(self, password: str, salt: str) -> str:
        raise NotImplementedError("hashes of other brokers are checked, never made")

    def safe_summary(self, encoded: str) -> dict[str, Any]:  # type: ignore[override]
        return {"algorithm": self.algorithm}

    def must_update(self, encoded: str) -> bool:
        return True

    def harden_runtime(self, password: str, encoded: str) -> None:
        """A wrong password is checked against a slow hash, too: `passwords._check`."""


class MosquittoSha512(_Foreign):
    algorithm = "mosquitto_sha512"

    def _fits(self, password: bytes, parts: list[str]) -> bool:
        salt, digest = (base64.b64decode(part, validate=True) for part in parts)
        return hmac.compare_digest(hashlib.sha512(password + salt).digest(), digest)


class MosquittoPbkdf2(_Foreign):
    algorithm = "mosquitto_pbkdf2"

    def _fits(self, password: bytes, parts: list[str]) -> bool:
        iterations = int(parts[0])
        salt, digest = (base64.b64decode(part, validate=True) for part in parts[1:])
        made = hashlib.pbkdf2_hmac("sha512", password, salt, iterations, len(digest))
        return hmac.compare_digest(made, digest)


class EmqxDigest(_Foreign):
    algorithm = "emqx_digest"

    def _fits(self, password: bytes, parts: list[str]) -> bool:
        name, position, salt, digest = parts
        raw = bytes.fromhex(salt)
        salted = {"prefix": raw + password, "suffix": password + raw}.get(position, password)
        made = hashlib.new(DIGESTS[name], salted, usedforsecurity=False).hexdigest()
        return hmac.compare_digest(made, digest.lower())


class EmqxPbkdf2(_Foreign):
    algorithm = "emqx_pbkdf2"

    def _fits(self, password: bytes, parts: list[str]) -> bool:
        name, iterations, salt, digest = parts
        made = hashlib.pbkdf2_hmac(
            DIGESTS[name], password, bytes.fromhex(salt), int(iterations), len(digest) // 2
        )
        return hmac.compare_digest(made.hex(), digest.lower())


FOREIGN: Final = tuple(each.algorithm for each in (MosquittoSha512, MosquittoPbkdf2, EmqxDigest, EmqxPbkdf2))


def is_foreign(encoded: str) -> bool:
    """Did another broker make it, so that one of this platform should replace it?"""
    return encoded.startswith((*(f"{name}$" for name in FOREIGN), "bcrypt$"))


class BadHash(ValueError):
    """Not a hash that can be checked; the text says why."""


def from_mosquitto(text: str) -> str:
    """What `mosquitto_passwd` wrote behind the user's name, in our form. BadHash."""
    parts = text.split("$")
    try:
        if parts[:2] == ["", "6"] and len(parts) == 4:
            return _checked(f"{MosquittoSha512.algorithm}${parts[2]}${parts[3]}", (parts[2], parts[3]), (64,))
        if parts[:2] == ["", "7"] and len(parts) == 5:
            return from_mosquitto_pbkdf2(int(parts[2]), parts[3], parts[4])
    except (ValueError, binascii.Error):
        raise BadHash("a hash that cannot be read") from None
    raise BadHash("neither $6$ nor $7$: not hashed yet? (mosquitto_passwd -U FILE)")


def from_mosquitto_pbkdf2(iterations: int, salt: str, digest: str) -> str:
    """BadHash."""
    if not 1 <= iterations <= MOST_ITERATIONS:
        raise BadHash(f"{iterations} iterations; from 1 to {MOST_ITERATIONS} are allowed")
    try:
        return _checked(
            f"{MosquittoPbkdf2.algorithm}${iterations}${salt}${digest}", (salt, digest), range(16, 65)
        )
    except (ValueError, binascii.Error):
        raise BadHash("a hash that cannot be read") from None


def _checked(encoded: str, parts: tuple[str, str], sizes: Any) -> str:
    salt, digest = (base64.b64decode(part, validate=True) for part in parts)
    if not salt or len(digest) not in sizes or len(encoded) > LONGEST:
        raise BadHash("a hash of an unknown size")
    return encoded


def from_emqx(algorithm: dict[str, Any], digest: str, salt: bytes) -> str:
    """`algorithm` as EMQX' `password_hash_algorithm`: name, salt_position, mac_fun, iterations. BadHash."""
    name = str(algorithm.get("name", "sha256"))
    if name == "bcrypt":
        if not digest.startswith(("$2a$", "$2b$", "$2y$")) or len(digest) != 60:
            raise BadHash("not a bcrypt hash")
        return f"bcrypt${digest}"
    try:
        size = len(bytes.fromhex(digest))
        if name == "pbkdf2":
            mac, iterations = str(algorithm.get("mac_fun", "sha256")), int(algorithm.get("iterations", 0))
            if mac not in DIGESTS or not 1 <= iterations <= MOST_ITERATIONS or size < 16:
                raise BadHash(f"PBKDF2 with {mac}, {iterations} iterations and {size} bytes")
            made = f"{EmqxPbkdf2.algorithm}${mac}${iterations}${salt.hex()}${digest}"
        elif name in DIGESTS:
            position = str(algorithm.get("salt_position", "prefix"))
            if size != hashlib.new(DIGESTS[name], usedforsecurity=False).digest_size:
                raise BadHash(f"a {name} digest of {size} bytes")
            if position not in ("prefix", "suffix", "disable"):
                raise BadHash(f"the salt position {position!r}")
            made = f"{EmqxDigest.algorithm}${name}${position}${salt.hex()}${digest}"
        else:
            raise BadHash(f"the algorithm {name!r}")
    except (TypeError, ValueError) as error:
        raise error if isinstance(error, BadHash) else BadHash("a hash that cannot be read") from None
    if len(made) > LONGEST:
        raise BadHash("a hash or salt that is too long")
    return made
