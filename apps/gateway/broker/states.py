"""The states of a connection. `control` holds the transitions."""

from __future__ import annotations

from typing import Final

NEW: Final = 0  # nothing received
CONNECTING: Final = 1  # CONNECT received, no CONNACK yet
CONNECTED: Final = 2
CLOSED: Final = 3
