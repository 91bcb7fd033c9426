"""Headers of the PROXY protocol, by hand."""

from __future__ import annotations

import ipaddress
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v1(source: str = "203.0.113.7", port: int = 4711) -> bytes:
    family = "TCP6" if ":" in source else "TCP4"
    target = "2001:db8::1" if ":" in source else "192.0.2.1"
    return f"PROXY {family} {source} {target} {port} 1883\r\n".encode()


def v2(source: str = "203.0.113.7", port: int = 4711, extra: bytes = b"", command: int = 1) -> bytes:
    """`extra`: TLVs."""
    address = ipaddress.ip_address(source)
    family = 0x11 if address.version == 4 else 0x21
    target = ipaddress.ip_address("192.0.2.1" if address.version == 4 else "2001:db8::1")
    body = address.packed + target.packed + struct.pack("!HH", port, 1883) + extra
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body
