from __future__ import annotations

from urllib.parse import urlsplit


class DiscoveryUnavailable(Exception):
    """The directory does not answer, or not as it should."""


def parts(url: str, port: int) -> tuple[str, str, int]:
    """(scheme, host, port) of an http(s) URL."""
    split = urlsplit(url)
    return split.scheme, split.hostname or "127.0.0.1", split.port or port


TIMEOUT = 3.0  # seconds of one request to a directory
