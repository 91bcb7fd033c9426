"""Text that only a process with the same SECRET_KEY can read again."""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


class CannotUnseal(Exception):
    """Sealed with another SECRET_KEY, purpose or extra, or not sealed at all."""


def key(purpose: str, extra: str = "") -> bytes:
    """32 bytes, derived from SECRET_KEY, `purpose` and whatever `extra` the reader has to know."""
    return _derive(settings.SECRET_KEY, purpose, extra)


def keys(purpose: str, extra: str = "") -> list[bytes]:
    """The present key, and those that replaced ones give: for reading only."""
    secrets = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [_derive(secret, purpose, extra) for secret in secrets]


def _derive(secret: str, purpose: str, extra: str) -> bytes:
    derived = HKDF(SHA256(), length=32, salt=extra.encode(), info=b"gmqtt " + purpose.encode())
    return derived.derive(secret.encode())


def seal(purpose: str, text: str, extra: str = "") -> str:
    return _fernet(key(purpose, extra)).encrypt(text.encode()).decode()


def unseal(purpose: str, sealed: str, extra: str = "") -> str:
    try:
        return MultiFernet(list(map(_fernet, keys(purpose, extra)))).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise CannotUnseal(purpose) from None


def _fernet(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(key))
