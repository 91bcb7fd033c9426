"""TLS contexts of the MQTT listeners, and who a client certificate says its holder is."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

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
