"""What Erlang writes: terms in the external format, and mnesia's backups, which are logs of such terms.

Atoms are str, binaries bytes, tuples tuples, lists (and strings) lists or str, maps dicts. A log begins
with a head of 8 bytes; each entry is its size (4 bytes), a mark (4 bytes) and the term. The first term of a
backup is its header; the others are lists of {schema, table, ...} or of rows, whose first element is the
table: {table, {record name, ...}} or the record itself.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

LOG: Final = b"\x01\x02\x03\x04"
MARK: Final = b"bWLA"
LARGE: Final = 65_528  # bytes: from there on the MD5 of its size (16 bytes) stands between mark and term
DEEPEST: Final = 100
LARGEST: Final = 1 << 28  # bytes of a term that was compressed


class BadTerm(Exception):
    """Not in Erlang's format."""


def decode(data: bytes) -> Any:
    """BadTerm."""
    if data[:1] != b"\x83":
        raise BadTerm("not an Erlang term")
    try:
        if data[1:2] == b"P":
            data = b"\x83" + zlib.decompressobj().decompress(data[6:], LARGEST)
        return _Terms(data).term(1, 0)[0]
    except (IndexError, struct.error, UnicodeDecodeError, TypeError, zlib.error) as error:
        raise BadTerm(f"an Erlang term that cannot be read: {error}") from None


class _Terms:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def term(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > DEEPEST:
            raise BadTerm("an Erlang term that is nested too deeply")
        data, tag = self._data, self._data[at]
        at += 1
        match tag:
            case 97:
                return data[at], at + 1
            case 98:
                return int.from_bytes(self._cut(at, 4), "big", signed=True), at + 4
            case 70:
                return struct.unpack_from(">d", data, at)[0], at + 8
            case 110 | 111:
                size, at = (data[at], at + 1) if tag == 110 else (self._number(at, 4), at + 4)
                value = int.from_bytes(self._cut(at + 1, size), "little")
                return -value if data[at] else value, at + 1 + size
            case 100 | 118:
                size = self._number(at, 2)
                return self._cut(at + 2, size).decode("latin-1" if tag == 100 else "utf-8"), at + 2 + size
            case 115 | 119:
                size = data[at]
                return self._cut(at + 1, size).decode("latin-1" if tag == 115 else "utf-8"), at + 1 + size
            case 104 | 105:
                count, at = (data[at], at + 1) if tag == 104 else (self._number(at, 4), at + 4)
                found, at = self._many(count, at, depth)
                return tuple(found), at
            case 106:
                return [], at
            case 107:
                size = self._number(at, 2)
                return list(self._cut(at + 2, size)), at + 2 + size
            case 108:
                found, at = self._many(self._number(at, 4), at + 4, depth)
                tail, at = self.term(at, depth + 1)
                return (found + tail if isinstance(tail, list) else [*found, tail]), at
            case 109:
                size = self._number(at, 4)
                return self._cut(at + 4, size), at + 4 + size
            case 116:
                flat, at = self._many(2 * self._number(at, 4), at + 4, depth)
                return {_key(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}, at
        return self._other(tag, at, depth)

    def _other(self, tag: int, at: int, depth: int) -> tuple[Any, int]:
        """Process ids, references and functions: their bytes are passed over."""
        if tag in (88, 103):
            _, at = self.term(at, depth + 1)
            return None, at + (12 if tag == 88 else 9)
        if tag in (90, 114):
            count = self._number(at, 2)
            _, at = self.term(at + 2, depth + 1)
            return None, at + 4 * count + (4 if tag == 90 else 1)
        if tag == 113:
            _, at = self._many(3, at, depth)
            return None, at
        raise BadTerm(f"an Erlang term of kind {tag}")

    def _many(self, count: int, at: int, depth: int) -> tuple[list[Any], int]:
        found = []
        for _ in range(count):
            value, at = self.term(at, depth + 1)
            found.append(value)
        return found, at

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self._cut(at, size), "big")

    def _cut(self, at: int, size: int) -> bytes:
        found = self._data[at : at + size]
        if len(found) < size:
            raise BadTerm("an Erlang term that is cut off")
        return found


def _key(key: Any) -> Any:
    return tuple(key) if isinstance(key, list) else repr(key) if isinstance(key, dict) else key


def backup_rows(data: bytes, table: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a table in a mnesia backup. BadTerm."""
    if not data:
        return
    if not data.startswith(LOG):
        raise BadTerm(f"{table} is not a mnesia backup")
    at, is_first = 8, True
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        start = at + 8 + (16 if size >= LARGE else 0)
        if data[at + 4 : at + 8] != MARK or start + size > len(data):
            raise BadTerm(f"{table} is truncated or damaged")
        found = decode(data[start : start + size])
        at = start + size
        if is_first:
            is_first = False  # the header
            continue
        for row in found if isinstance(found, list) else [found]:
            if isinstance(row, tuple) and row and row[0] == table:
                yield row
    if at < len(data):
        raise BadTerm(f"{table} is truncated")
