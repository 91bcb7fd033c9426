"""Whether a ban fits a connection. Pure."""

from __future__ import annotations

import ipaddress
from fnmatch import fnmatchcase
from functools import lru_cache


@lru_cache(maxsize=4096)
def networks(address: str) -> tuple[str, ...]:
    """Every network that `address` is in, as bans spell them: 33 for IPv4, 129 for IPv6, else none."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ()
    found = getattr(found, "ipv4_mapped", None) or found
    return tuple(
        str(ipaddress.ip_network((found, length), strict=False)) for length in range(found.max_prefixlen + 1)
    )


def pattern_fits(pattern: str, client_id: str) -> bool:
    """`*` is any text, ? one character; everything else stands for itself, upper and lower case apart."""
    return fnmatchcase(client_id, pattern.replace("[", "[[]"))
