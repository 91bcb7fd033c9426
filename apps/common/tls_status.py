"""What a node's TLS listeners tell of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TlsStatus:
    # Labels (listener, file) and the UNIX time at which the file expires, read at each call.
    expiry: Callable[[], list[tuple[dict[str, str], float]]]
    # (listener, reason) -> handshakes that failed.
    failures: Mapping[tuple[str, str], int]
