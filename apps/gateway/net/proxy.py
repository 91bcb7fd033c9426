"""The PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt), on accepted sockets.

The header is looked at with MSG_PEEK and exactly its bytes are then taken, so that TLS or MQTT finds
the socket at its own first byte.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX_V1: Final = 107  # bytes, with the line end
TYPE_SSL: Final = 0x20  # PP2_TYPE_SSL, and the first bit of its first byte
CLIENT_SSL: Final = 0x01
MAX_V2: Final = 16 + 4096  # what we look at: addresses and a reasonable amount of TLVs


class ProxyError(Exception):
    """No PROXY header, or a malformed one."""


class Header(NamedTuple):
    """What the first bytes of a connection say."""

    length: int  # bytes of the header
    source: (
        tuple[str, int] | None
    )  # address and port; None where the proxy speaks for itself (LOCAL, UNKNOWN)
    secure: bool = False  # the client speaks TLS with the proxy (version 2, PP2_TYPE_SSL)


def parse(data: bytes) -> Header | None:
    """None: more bytes are needed. Raises ProxyError when this cannot become a header."""
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
        return Header(end + 2, None)
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
    return Header(end + 2, (plain(str(address)), ports[0]))


def _parse_v2(data: bytes) -> Header | None:
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
        return Header(total, None)
    if family == 0x11 and length >= 12:
        (port,) = struct.unpack_from("!H", data, 24)
        return Header(total, (str(ipaddress.IPv4Address(data[16:20])), port), _secure(data[28:total]))
    if family == 0x21 and length >= 36:
        (port,) = struct.unpack_from("!H", data, 48)
        address = plain(str(ipaddress.IPv6Address(data[16:32])))
        return Header(total, (address, port), _secure(data[52:total]))
    if family >> 4 in (0, 3):  # UNSPEC or a UNIX socket: no address to learn
        return Header(total, None)
    raise ProxyError("PROXY header for another transport")


def _secure(extensions: bytes) -> bool:
    """Does an extension say that the client came over TLS?"""
    while len(extensions) >= 3:
        kind, length = struct.unpack_from("!BH", extensions)
        if kind == TYPE_SSL and length:
            return bool(extensions[3] & CLIENT_SSL) if len(extensions) > 3 else False
        extensions = extensions[3 + length :]
    return False


async def read_header(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> Header:
    """Take the header off a non-blocking socket; bound the wait from outside."""
    while True:
        data = await _peek(sock, loop)
        if not data:
            raise ProxyError("closed before the PROXY header")
        found = parse(data)
        if found is not None:
            length = found.length
            while length:
                length -= len(sock.recv(length))
            return found
        await asyncio.sleep(0.01)  # bytes that were peeked at would keep the socket readable


async def has_begun(sock: socket.socket, loop: asyncio.AbstractEventLoop) -> bool:
    """Wait for the first byte; False: the connection ended without one."""
    return bool(await _peek(sock, loop))


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


def trusted(address: str, networks: Sequence[Network]) -> bool:
    """May the peer at `address` speak for others?"""
    try:
        peer = ipaddress.ip_address(plain(address))
    except ValueError:
        return False
    return any(peer in network for network in networks)


def plain(address: str) -> str:
    """An IPv4 address as it is known everywhere else, also from a dual-stack socket (::ffff:192.0.2.1)."""
    if not address.lower().startswith("::ffff:"):
        return address
    mapped = ipaddress.IPv6Address(address).ipv4_mapped
    return str(mapped) if mapped is not None else address
