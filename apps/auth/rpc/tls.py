"""The certificates of gRPC, read again when their files change. A broken file changes nothing."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path

import grpc

logger = logging.getLogger(__name__)


def _mark(*paths: Path) -> tuple[tuple[int, int], ...]:
    """What changes with the files; (0, 0) where there is none."""
    marks = []
    for path in paths:
        try:
            found = path.stat()
        except OSError:
            marks.append((0, 0))
        else:
            marks.append((found.st_mtime_ns, found.st_size))
    return tuple(marks)


class ServerCertificate:
    """gRPC asks for it at each handshake, on a thread of its own."""

    def __init__(self, cert: Path, key: Path) -> None:
        """OSError (ssl.SSLError is one) where the files cannot be used."""
        self._cert = cert
        self._key = key
        self._seen = _mark(cert, key)
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(self._first, self._renewed)  # type: ignore[arg-type]

    def _read(self) -> grpc.ServerCertificateConfiguration:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self._cert, self._key, password=lambda: "")
        return grpc.ssl_server_certificate_configuration([(self._key.read_bytes(), self._cert.read_bytes())])

    def _renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """None: as before."""
        marks = _mark(self._cert, self._key)
        if marks == self._seen:
            return None
        self._seen = marks
        try:
            found = self._read()
        except (OSError, ValueError) as error:
            logger.error("the new certificate is not used, the old one stays: %s: %s", self._cert, error)
            return None
        logger.info("certificate read again: %s", self._cert)
        return found


class Authority:
    """The CA that a gateway trusts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _mark(path)
        self.pem = path.read_bytes()

    def renewed(self) -> bool:
        """Is there another one now? Then `pem` has it."""
        marks = _mark(self._path)
        if marks == self._seen:
            return False
        self._seen = marks
        try:
            pem = self._path.read_bytes()
            ssl.create_default_context(cadata=pem.decode("ascii"))
        except (OSError, ValueError) as error:
            logger.error("the new CA is not used, the old one stays: %s: %s", self._path, error)
            return False
        changed, self.pem = pem != self.pem, pem
        return changed
