"""TLS contexts of the MQTT listeners, their renewal, and who a client certificate says its holder is."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

logger = logging.getLogger(__name__)

_VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def server_context(cert: Path, key: Path, client_ca: Path | None, client_auth: str) -> ssl.SSLContext:
    """TLS 1.2 or newer. `client_auth`: none | optional | required.

    Raises OSError or ssl.SSLError for files that cannot be used.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
    context.verify_mode = _VERIFY[client_auth]
    return context


@dataclass
class Certificates:
    """The files of the listeners, read again when they change: new connections get what is in them then.

    A file that cannot be used changes nothing: the listeners go on with what they had.
    """

    cert: Path
    key: Path
    client_ca: Path | None
    client_auth: str
    # One for each kind of listener: reads the files, and answers what puts them to use.
    prepare: list[Callable[[], Callable[[], None]]] = field(default_factory=list)
    error: str = ""  # why the files that are there now are not used
    _seen: tuple[tuple[int, int], ...] = ()
    _current: ssl.SSLContext | None = None  # None: as the listeners began

    def __post_init__(self) -> None:
        self._seen = self._marks()

    def _marks(self) -> tuple[tuple[int, int], ...]:
        """What changes with the files: time and size of each, (0, 0) where there is none."""
        marks = []
        for path in (self.cert, self.key, self.client_ca):
            try:
                found = path.stat() if path is not None else None
            except OSError:
                found = None
            marks.append((found.st_mtime_ns, found.st_size) if found is not None else (0, 0))
        return tuple(marks)

    def look(self) -> bool | None:
        """Read the files again if they have changed. None: they have not; False: they cannot be used."""
        marks = self._marks()
        if marks == self._seen:
            return None
        self._seen = marks
        return self.reload()

    def reload(self) -> bool:
        """Read the files again."""
        try:
            current = server_context(self.cert, self.key, self.client_ca, self.client_auth)
            prepared = [prepare() for prepare in self.prepare]
        except (OSError, ValueError, ssl.SSLError) as error:
            self.error = str(error)
            logger.error("the new certificate is not used, the old one stays: %s: %s", self.cert, error)
            return False
        self._current = current
        for put_to_use in prepared:
            put_to_use()
        self.error = ""
        logger.info("certificate read again: %s", self.cert)
        return True

    def status(self) -> dict[str, Any]:
        """For health checks: are the files in use, and for how many days is the certificate valid?"""
        try:
            end = x509.load_pem_x509_certificate(self.cert.read_bytes()).not_valid_after_utc
        except (OSError, ValueError) as error:
            return {"ok": False, "error": self.error or str(error)}
        days = (end - datetime.now(UTC)).days
        return {"ok": not self.error and days >= 0, "error": self.error, "days_left": days}

    def serve(self, context: ssl.SSLContext) -> None:
        """Let a listener's context hand new connections to the context of the files as last read.

        That has the certificate, and nothing but the client CAs that stand in the file now.
        """
        context.sni_callback = self._choose  # called for every ClientHello, with a server name or without

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        if self._current is not None:
            connection.context = self._current


def subject(ssl_object: Any) -> tuple[str, str]:
    """(RFC 4514 name, common name) of the client's verified certificate; empty without one."""
    raw = ssl_object.getpeercert(True) if ssl_object is not None else None
    if not raw:
        return "", ""
    name = x509.load_der_x509_certificate(raw).subject.rfc4514_string()
    return name, common_name(name)


def common_name(subject: str) -> str:
    """The common name in an RFC 4514 name; "" where it has none."""
    if not subject:
        return ""
    found = x509.Name.from_rfc4514_string(subject).get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
