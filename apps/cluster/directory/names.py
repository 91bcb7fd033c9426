"""What identifiers and topics look like in the database, where a column has an end and they have none.

A text that is longer than its column is shortened to its beginning, an ellipsis and the SHA-256 of the whole:
still one text for one identifier, and as long as the column exactly, so that it can be told from a short one.
"""

from __future__ import annotations

import hashlib
from typing import Final

CLIENT_ID: Final = 256  # characters
TOPIC: Final = 512
ELLIPSIS: Final = "…"
_DIGEST: Final = 64


def shortened(text: str, most: int) -> str:
    """`text` itself where it fits into `most` characters."""
    if len(text) <= most:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return text[: most - _DIGEST - 1] + ELLIPSIS + digest


def client_key(client_id: str) -> str:
    """The client id as it stands in the database."""
    return shortened(client_id, CLIENT_ID)


def topic_key(topic: str) -> str:
    """The topic name or filter as it stands in the database."""
    return shortened(topic, TOPIC)


def is_shortened(text: str, most: int) -> bool:
    return len(text) == most and text[-_DIGEST - 1] == ELLIPSIS


def shape(filter: str) -> str:
    """What of a filter is a wildcard, a character a level: "a/+/c/#" is ".+.#".

    Of all filters of one shape a topic is matched by at most one, so to match a topic is to look up one
    filter for each shape there is (tuple space search).
    """
    marks = "".join(level if level in ("+", "#") else "." for level in filter.split("/"))
    return shortened(marks, CLIENT_ID)
