"""What the TLS keys of [listeners] have to agree with: each other, and what stands in the files."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any

from gmqtt_platform.config.values import shown

_CRL = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)


def complaint(listeners: Any) -> tuple[str, str, str, str] | None:
    """(key, found, allowed, hint) of the first thing that cannot be."""
    level, version = listeners.tls_security_level, listeners.tls_min_version
    if version < "1.2" and level > 0:
        hint = f"OpenSSL has no TLS {version} above level 0; it is for devices that cannot do better"
        return "listeners.tls_security_level", str(level), f'0 while tls_min_version = "{version}"', hint
    if listeners.tls_ciphers:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(f"{listeners.tls_ciphers}:@SECLEVEL={level}")
        except ssl.SSLError:
            allowed = f"OpenSSL's list with at least one suite of security level {level}"
            return "listeners.tls_ciphers", shown(listeners.tls_ciphers), allowed, "see: openssl ciphers -v"
    if listeners.tls_crl is not None:
        return _crl_complaint(listeners)
    return None


def _crl_complaint(listeners: Any) -> tuple[str, str, str, str] | None:
    from cryptography import x509  # only who has a CRL waits for it

    key, path = "listeners.tls_crl", listeners.tls_crl
    if listeners.tls_client_ca is None or listeners.tls_client_auth == "none":
        hint = "it tells which client certificates are revoked, and nobody asks for one"
        return key, shown(str(path)), '"" while tls_client_auth = "none"', hint
    allowed = "the path of a readable PEM file with a CRL of tls_client_ca"
    try:
        lists = [x509.load_pem_x509_crl(each) for each in _CRL.findall(Path(path).read_bytes())]
        authorities = x509.load_pem_x509_certificates(listeners.tls_client_ca.read_bytes())
    except (OSError, ValueError) as error:
        return key, f"{shown(str(path))} ({getattr(error, 'strerror', None) or error})", allowed, ""
    if not lists:
        return key, f"{shown(str(path))} (no CRL in it)", allowed, ""
    for each in lists:
        if not any(_signed_by(each, authority) for authority in authorities):
            found = f"{shown(str(path))} (a CRL of {each.issuer.rfc4514_string()})"
            return key, found, allowed, "every client certificate would be refused"
    return None


def _signed_by(crl: Any, authority: Any) -> bool:
    try:
        return bool(crl.issuer == authority.subject and crl.is_signature_valid(authority.public_key()))
    except TypeError:  # a kind of key that signs nothing
        return False
