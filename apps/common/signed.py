"""Messages between our processes over a server that others may write to: signed, fresh, read once.

The key is derived from SECRET_KEY and the purpose; keys of SECRET_KEY_FALLBACKS are accepted, too, so that
the key can be rotated. A message is good for WINDOW seconds before and after its time, and each reader takes
it once.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from django.core import signing

logger = logging.getLogger(__name__)

WINDOW: Final = 60.0  # seconds that the clocks of two processes may differ, delivery included
MAX_SEEN: Final = 100_000  # messages remembered; more in a window are refused
REPEATED: Final = 30.0  # seconds between two warnings


def sign(purpose: str, body: dict[str, Any]) -> str:
    """`body` is JSON; `purpose` says for which reader it is good."""
    return _signer(purpose).sign(
        json.dumps([time.time(), secrets.token_hex(12), body], separators=(",", ":"))
    )


class Reader:
    """Opens what was signed for `purpose`. Thread-safe."""

    def __init__(self, purpose: str, now: Callable[[], float] = time.time, timed: bool = True) -> None:
        """`timed` is False where clocks may differ, and what is said twice does nothing the second time."""
        self._timed = timed
        self._purpose = purpose
        self._now = now
        self._lock = Lock()
        self._seen: OrderedDict[str, float] = OrderedDict()  # nonce -> until when it could be sent again
        self._warned = float("-inf")
        self.refused = 0

    def open(self, text: object) -> dict[str, Any] | None:
        """None for what was not signed by one of our processes, is too old, or was read before."""
        if not isinstance(text, str):
            self._refuse("it is not signed")
            return None
        try:
            at, nonce, body = json.loads(_signer(self._purpose).unsign(text))
        except signing.BadSignature:
            self._refuse("its signature is not ours")
            return None
        if not self._timed:
            return dict(body)
        now = self._now()
        if abs(now - at) > WINDOW:
            self._refuse(f"its time differs from ours by {now - at:.0f} s")
            return None
        with self._lock:
            while self._seen and next(iter(self._seen.values())) < now:
                self._seen.popitem(last=False)
            if nonce in self._seen or len(self._seen) >= MAX_SEEN:
                self._refuse("it was read before")
                return None
            self._seen[nonce] = now + 2 * WINDOW
        return dict(body)

    def _refuse(self, why: str) -> None:
        self.refused += 1
        now = time.monotonic()
        if now - self._warned > REPEATED:
            self._warned = now
            logger.warning("a message for %s was refused: %s (%d so far)", self._purpose, why, self.refused)


def _signer(purpose: str) -> signing.Signer:
    return signing.Signer(salt=f"gmqtt.{purpose}")
