"""The two messages of a SCRAM client (RFC 5802, section 7)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from apps.auth import passwords

MAX_LENGTH = 4096  # bytes of a message; the longest sensible one is far below


class BadMessage(ValueError):
    """Not a message that may stand here."""


@dataclass(frozen=True)
class ClientFirst:
    header: str  # "n,," or "y,,", with an authorization identity where the client gave one
    bare: str
    username: str
    nonce: str


@dataclass(frozen=True)
class ClientFinal:
    without_proof: str
    binding: str  # base64 of the header
    nonce: str
    proof: bytes


_FIRST = re.compile(
    r"(?P<header>(?P<binding>[ny]|p=[A-Za-z0-9.-]+),(?:a=(?P<identity>[^,]*))?,)"
    r"(?P<bare>n=(?P<name>[^,]*),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*)"
)
_FINAL = re.compile(
    r"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>[\x21-\x2b\x2d-\x7e]+)(?:,[A-Za-z]=[^,]*)*)"
    r",p=(?P<proof>[A-Za-z0-9+/=]+)"
)


def client_first(data: bytes) -> ClientFirst:
    found = _FIRST.fullmatch(_text(data))
    if found is None:
        raise BadMessage("not a client-first message")
    if found["binding"].startswith("p="):
        raise BadMessage("channel binding is not supported")
    username = _name(found["name"])
    if found["identity"] is not None and _name(found["identity"]) != username:
        raise BadMessage("nobody may act as another")
    return ClientFirst(found["header"], found["bare"], username, found["nonce"])


def client_final(data: bytes) -> ClientFinal:
    found = _FINAL.fullmatch(_text(data))
    if found is None:
        raise BadMessage("not a client-final message")
    try:
        proof = base64.b64decode(found["proof"], validate=True)
    except binascii.Error:
        raise BadMessage("the proof is not base64") from None
    if len(proof) != 32:
        raise BadMessage("the proof is not that of a SHA-256")
    return ClientFinal(found["bare"], found["binding"], found["nonce"], proof)


def _text(data: bytes) -> str:
    if len(data) > MAX_LENGTH:
        raise BadMessage("too long")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadMessage("not UTF-8") from None


def _name(escaped: str) -> str:
    """`=2C` is a comma, `=3D` an equals sign, and no other = may stand there."""
    if re.search(r"=(?!2C|3D)", escaped):
        raise BadMessage("bad escape in the user name")
    try:
        name = passwords.saslprep(escaped.replace("=2C", ",").replace("=3D", "="))
    except ValueError as error:
        raise BadMessage(f"user name: {error}") from None
    if not name:
        raise BadMessage("no user name")
    return name
