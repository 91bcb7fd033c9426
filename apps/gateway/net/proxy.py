"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), on accepted sockets.

The header is looked at with MSG_PEEK and exactly its bytes are then taken, so that TLS or MQTT finds
the socket at its own first byte.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1: Final = 107  # bytes, with the line end
MAX_V2: Final = 16 + 4096  # what we look at: addresses and a reasonable amount of TLVs


class ProxyError(Exception):
    """No PROXY header, or a malformed one."""


def parse(data: bytes) -> tuple[int, tuple[str, int] | None] | None:
    """(length of the header, source address and port) from the first bytes of a connection.

    The address is None where the proxy speaks for itself (LOCAL, UNKNOWN). None: more bytes are
    needed. Raises ProxyError when this cannot become a header.
    """
    if data[:1] == b"\r":
        return _parse_v2(data)
    end = data.find(b"\r\n")
    if end < 0:
        if len(data) >= MAX_V1 or not b"PROXY ".startswith(data[:6]):
            raise ProxyError("no PROXY header")
        return None
    parts = data[:end].split(b" ")
    if end + 2 > MAX_V1 or parts[0] != b"PROXY" or len(parts) < 2:
        raise ProxyError("no PROXY header")
    if parts[1] == b"UNKNOWN":
        return end + 2, None
    if len(parts) != 6 or parts[1] not in (b"TCP4", b"TCP6"):
        raise ProxyError("malformed PROXY line")
    try:
        address = ipaddress.ip_address(parts[2].decode("ascii"))
        ipaddress.ip_address(parts[3].decode("ascii"))
    except ValueError:
        raise ProxyError("malformed address in the PROXY line") from None
    ports = [int(part) if part.isdigit() else -1 for part in parts[4:]]
    if address.version != (4 if parts[1] == b"TCP4" else 6) or not all(0 <= port <= 65_535 for port in ports):
        raise ProxyError("malformed address in the PROXY line")
    return end + 2, (str(address), ports[0])


def _parse_v2(data: bytes) -> tuple[int, tuple[str, int] | None] | None:
    if not SIGNATURE.startswith(data[: len(SIGNATURE)]):
        raise ProxyError("no PROXY signature")
    if len(data) < 16:
        return None
    version_command, family = data[12], data[13]
    (length,) = struct.unpack_from("!H", data, 14)
    if version_command >> 4 != 2 or version_command & 0x0F > 1:
        raise ProxyError("unknown PROXY version or command")
    total = 16 + length
    if total > MAX_V2:
        raise ProxyError("PROXY header too long")
    if len(data) < total:
        return None
    if version_command & 0x0F == 0:  # LOCAL: a health check of the proxy's own
        return total, None
    if family == 0x11 and length >= 12:
        (port,) = struct.unpack_from("!H", data, 24)
        return total, (str(ipaddress.IPv4Address(data[16:20])), port)
    if family == 0x21 and length >= 36:
        (port,) = struct.unpack_from("!H", data, 48)
        return total, (str(ipaddress.IPv6Address(data[16:32])), port)
    if family >> 4 in (0, 3):  # UNSPEC or a UNIX socket: no address to learn
        return total, None
    raise ProxyError("PROXY header for another transport")


async def read_header(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> tuple[str, int] | None:
    """Take the header off a non-blocking socket; bound the wait from outside."""
    while True:
        data = await _peek(sock, loop)
        if not data:
            raise ProxyError("closed before the PROXY header")
        found = parse(data)
        if found is not None:
            length, source = found
            while length:
                length -= len(sock.recv(length))
            return source
        await asyncio.sleep(0.01)  # bytes that were peeked at would keep the socket readable


async def _peek(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> bytes:
    while True:
        try:
            return sock.recv(MAX_V2, socket.MSG_PEEK)
        except BlockingIOError:
            readable: asyncio.Future[None] = loop.create_future()
            loop.add_reader(sock.fileno(), _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(sock.fileno())


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def trusted(address: str, networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    """May the peer at `address` speak for others?"""
    peer = ipaddress.ip_address(address)
    if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
        peer = peer.ipv4_mapped
    return any(peer in network for network in networks)
