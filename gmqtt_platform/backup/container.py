"""The file of a backup. It is written and read as a stream, in memory that does not grow with it.

    "GMQTTBAK", format (1 byte), encrypted (1 byte)
    if it is encrypted: log2 of scrypt's N, r, p (a byte each), salt (16 bytes), nonce prefix (7 bytes)
    body

The body is gzip: a JSON array [kind, values] a line. The first is the manifest; the last is ["end",
{"records": ..., "sha256": ...}], the digest of all lines before it. An encrypted body is the STREAM
construction of Hoang, Reyhanitabar, Rogaway and Vizar over AES-256-GCM: pieces of 64 KiB, their nonce the
prefix, a count (4 bytes) and 1 for the last, else 0; the header is authenticated with each. So pieces can
neither be left out, swapped nor cut off at the end.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator
from typing import IO, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC: Final = b"GMQTTBAK"
FORMAT: Final = 1
LOG2_N, R, P = 16, 8, 1  # 64 MiB and about 0.2 s for each guess
MOST_LOG2_N, MOST_R, MOST_P = 20, 16, 4  # of a file that somebody made: 2 GiB
SALT, PREFIX, PIECE, TAG = 16, 7, 65_536, 16  # bytes
LONGEST: Final = 400 << 20  # bytes of a line: the largest MQTT packet in base64
END: Final = "end"
MANIFEST: Final = "manifest"


class BadFile(Exception):
    """The file cannot be used; the text says why, and what to do."""


class Writer:
    def __init__(self, file: IO[bytes], passphrase: bytes = b"") -> None:
        head = MAGIC + bytes((FORMAT, bool(passphrase)))
        body: Any = file
        if passphrase:
            salt, prefix = os.urandom(SALT), os.urandom(PREFIX)
            head += bytes((LOG2_N, R, P)) + salt + prefix
            key = _derive(passphrase, salt, LOG2_N, R, P)
            body = _Encrypting(file, key, prefix, head)
        file.write(head)
        self._body = body
        self._sealed = bool(passphrase)
        self._gzip = gzip.GzipFile("", "wb", 6, body, 0)
        self._digest = hashlib.sha256()
        self.records = 0

    def write(self, kind: str, values: dict[str, Any]) -> None:
        line = encoded(kind, values)
        self._digest.update(line)
        self.records += 1
        self._gzip.write(line)

    def close(self) -> None:
        """Write the trailer: without this the file is no backup."""
        values = {"records": self.records, "sha256": self._digest.hexdigest()}
        self._gzip.write(encoded(END, values))
        self._gzip.close()
        if self._sealed:
            self._body.finish()


def encoded(kind: str, values: dict[str, Any]) -> bytes:
    return json.dumps([kind, values], sort_keys=True, separators=(",", ":")).encode() + b"\n"


def read(file: IO[bytes], passphrase: bytes = b"") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each record, the manifest first, without the trailer. `BadFile` as soon as something is wrong with it.

    Only when it has ended without an error is it certain that the file is whole.
    """
    body = _body(file, passphrase)
    digest, count, ended = hashlib.sha256(), 0, False
    with gzip.GzipFile(fileobj=body, mode="rb") as lines:
        while line := _line(lines):
            if ended:
                raise BadFile("there is something behind its end")
            kind, values = _record(line)
            if kind == END:
                if values.get("records") != count or values.get("sha256") != digest.hexdigest():
                    raise BadFile("it is damaged: its SHA-256 is another one")
                ended = True
                continue
            if (kind == MANIFEST) != (count == 0):
                raise BadFile("it does not begin with a manifest")
            digest.update(line)
            count += 1
            yield kind, values
    if not ended:
        raise BadFile("it is truncated: it has no end")


def _body(file: IO[bytes], passphrase: bytes) -> IO[bytes]:
    head = file.read(len(MAGIC) + 2)
    if not head.startswith(MAGIC) or len(head) < len(MAGIC) + 2:
        raise BadFile("it is not a backup of this platform")
    version, sealed = head[-2:]
    if not version:
        raise BadFile("it is damaged: it has no format")
    if version > FORMAT:
        raise BadFile(f"its format is {version}, this program reads up to {FORMAT}: use a newer version")
    if not sealed:
        if passphrase:
            raise BadFile("it is not encrypted: leave --passphrase-file away")
        return file
    rest = file.read(3 + SALT + PREFIX)
    if len(rest) < 3 + SALT + PREFIX:
        raise BadFile("it is truncated")
    if not passphrase:
        raise BadFile("it is encrypted: name its passphrase by --passphrase-file")
    log2_n, r, p = rest[:3]
    if not (1 <= log2_n <= MOST_LOG2_N and 1 <= r <= MOST_R and 1 <= p <= MOST_P):
        raise BadFile("its key derivation costs more than this program allows")
    key = _derive(passphrase, rest[3 : 3 + SALT], log2_n, r, p)
    return io.BufferedReader(_Decrypting(file, key, rest[3 + SALT :], head + rest), PIECE)


def _line(lines: gzip.GzipFile) -> bytes:
    try:
        line = lines.readline(LONGEST)
    except EOFError:
        raise BadFile("it is truncated") from None
    except (OSError, zlib.error) as error:
        raise BadFile(f"it is damaged: {error}") from None
    if len(line) >= LONGEST:
        raise BadFile("it is damaged: a record without an end")
    return line


def _record(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        kind, values = json.loads(line)
    except (ValueError, RecursionError):
        raise BadFile("it is damaged: a record that cannot be read") from None
    if not isinstance(kind, str) or not isinstance(values, dict):
        raise BadFile("it is damaged: a record that cannot be read")
    return kind, values


def _derive(passphrase: bytes, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return Scrypt(salt, 32, 1 << log2_n, r, p).derive(passphrase)


class _Encrypting:
    """A file to write to. A piece is sealed when it is known whether another one follows."""

    def __init__(self, file: IO[bytes], key: bytes, prefix: bytes, head: bytes) -> None:
        self._file = file
        self._cipher = AESGCM(key)
        self._prefix = prefix
        self._head = head
        self._count = 0
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        while len(self._waiting) > PIECE:
            self._seal(PIECE, False)
        return len(data)

    def flush(self) -> None:
        """What gzip asks for; a piece is full or the last."""

    def finish(self) -> None:
        self._seal(len(self._waiting), True)

    def _seal(self, size: int, is_last: bool) -> None:
        piece = bytes(self._waiting[:size])
        del self._waiting[:size]
        nonce = _nonce(self._prefix, self._count, is_last)
        self._file.write(self._cipher.encrypt(nonce, piece, self._head))
        self._count += 1


class _Decrypting(io.RawIOBase):
    def __init__(self, file: IO[bytes], key: bytes, prefix: bytes, head: bytes) -> None:
        self._file = file
        self._cipher = AESGCM(key)
        self._prefix = prefix
        self._head = head
        self._count = 0
        self._next = file.read(PIECE + TAG)
        self._clear = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._clear:
            if not self._next:
                return 0
            self._open()
        size = min(len(buffer), len(self._clear))
        buffer[:size] = self._clear[:size]
        self._clear = self._clear[size:]
        return size

    def _open(self) -> None:
        piece, self._next = self._next, self._file.read(PIECE + TAG)
        try:
            clear = self._cipher.decrypt(_nonce(self._prefix, self._count, not self._next), piece, self._head)
        except (InvalidTag, ValueError):
            if self._count == 0 and len(piece) == PIECE + TAG:
                raise BadFile("the passphrase is another one, or the file is damaged") from None
            if self._count == 0:
                raise BadFile("the passphrase is another one, or the file is truncated or damaged") from None
            raise BadFile("it is truncated or damaged") from None
        self._count += 1
        self._clear = memoryview(clear)


def _nonce(prefix: bytes, count: int, is_last: bool) -> bytes:
    return prefix + count.to_bytes(4, "big") + bytes((is_last,))
