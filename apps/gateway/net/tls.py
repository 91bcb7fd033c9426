"""TLS contexts of the MQTT listeners, and who a client certificate says its holder is."""

from __future__ import annotations

import re
import ssl
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

_VERIFY: Final = {"none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
VERSIONS: Final = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
# Python's own list for servers: forward secrecy, no SHA-1.
STRONG: Final = "ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:DHE+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"
_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True)
class Tls:
    """What the TLS listeners of a node show and offer, and what they ask of clients."""

    cert: Path  # PEM, with the chain
    key: Path
    client_ca: Path | None = None
    client_auth: str = "none"  # none | optional | required
    crl: Path | None = None  # of the client CAs
    min_version: str = "1.2"
    ciphers: str = ""  # OpenSSL's list for TLS 1.2 and older; "" = by the security level
    security_level: int = 2  # OpenSSL's

    @property
    def cipher_list(self) -> str:
        """OpenSSL's notation. Level 0 and 1 are for old devices, which know only suites with SHA-1."""
        chosen = self.ciphers or (STRONG if self.security_level > 1 else "DEFAULT")
        return f"{chosen}:@SECLEVEL={self.security_level}"

    @property
    def weakness(self) -> str:
        """What of the settings is below today's standard; "" = nothing."""
        found = [f"TLS {self.min_version}"] if self.min_version < "1.2" else []
        if self.security_level < 2:
            found.append(f"security level {self.security_level}")
        return ", ".join(found)


def server_context(tls: Tls) -> ssl.SSLContext:
    """Raises OSError (ssl.SSLError is one) or ValueError for files that cannot be used."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_ciphers(tls.cipher_list)
    with warnings.catch_warnings():  # that TLS 1.0 and 1.1 are old: the log says it in our words
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = VERSIONS[tls.min_version]
    context.load_cert_chain(tls.cert, tls.key)
    if tls.client_ca is not None:
        context.load_verify_locations(tls.client_ca)
    if tls.crl is not None:
        revocation_lists(tls.crl)
        context.load_verify_locations(tls.crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    context.verify_mode = _VERIFY[tls.client_auth]
    return context


def revocation_lists(path: Path) -> list[x509.CertificateRevocationList]:
    """The CRLs in a PEM file; ValueError where there is none."""
    found = [x509.load_pem_x509_crl(each) for each in _CRL.findall(path.read_bytes())]
    if not found:
        raise ValueError(f"no CRL (PEM) in {path}")
    return found


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
