"""Which QoS 2 records a node wrote: by their names what repeats is dropped, so nobody else may give them.

A record without a good proof is delivered like one of a service, and never taken for a repetition. The proof
covers headers and payload: a copy of the record is the same message, and nothing else has the same proof.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Final

PURPOSE: Final = "kafka message id"  # the key's, for `common.sealing`
Headers = Iterable[tuple[str, bytes | None]]


class MessageProof:
    """Keyed BLAKE2b, 16 bytes. The first key makes proofs, each of them is accepted."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def make(self, headers: Headers, payload: bytes) -> bytes:
        return _digest(self._keys[0], headers, payload)

    def is_good(self, proof: bytes, headers: Headers, payload: bytes) -> bool:
        return any(hmac.compare_digest(proof, _digest(key, headers, payload)) for key in self._keys)


def _digest(key: bytes, headers: Headers, payload: bytes) -> bytes:
    digest = blake2b(key=key, digest_size=16)
    for name, value in headers:
        for part in (name.encode(errors="replace"), value or b""):
            digest.update(len(part).to_bytes(8, "big") + part)
    digest.update(payload)
    return digest.digest()
