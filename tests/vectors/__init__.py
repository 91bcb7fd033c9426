"""The packet vectors: one table of bytes and what they say, or what is wrong with them."""

from __future__ import annotations

from tests.vectors import connects, messages, propertytable, subscriptions

_PARTS = (connects, messages, subscriptions, propertytable)
GOOD = [vector for part in _PARTS for vector in part.GOOD]
BAD = [vector for part in _PARTS for vector in part.BAD]
