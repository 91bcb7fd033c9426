"""TLS handshakes that failed: why, how many, and from where."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from typing import Final

logger = logging.getLogger(__name__)

# What OpenSSL says, in lower case -> the reason under which it is counted. The first that fits.
_REASONS: Final = (
    ("crl has expired", "crl_expired"),
    ("unable to get certificate crl", "no_crl"),
    ("certificate revoked", "certificate_revoked"),
    ("certificate has expired", "certificate_expired"),
    ("alert", "refused_by_client"),  # the client does not like our certificate, for one
    ("certificate verify failed", "certificate_not_trusted"),
    ("did not return a certificate", "no_certificate"),
    ("unsupported protocol", "protocol_version"),
    ("version too low", "protocol_version"),
    ("no shared cipher", "no_shared_cipher"),
    ("no suitable signature", "no_shared_cipher"),
    ("http request", "not_tls"),
    ("https proxy request", "not_tls"),
    ("wrong version number", "not_tls"),
    ("record layer failure", "not_tls"),
    ("packet length too long", "not_tls"),
    ("timed out", "timeout"),
    ("is taking longer", "timeout"),
    ("aborted", "timeout"),
    ("reset", "closed"),
    ("eof", "closed"),
    ("closed", "closed"),
    ("lost", "closed"),
)


class Handshakes:
    """Counts by (listener, reason): a bounded number of both."""

    def __init__(self) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()

    def failed(self, listener: str, address: str, error: BaseException) -> None:
        text = words(error)
        reason = reason_of(text)
        self.failures[listener, reason] += 1
        extra = {"listener": listener, "address": address, "reason": reason}
        logger.info("TLS handshake with %s failed (%s): %s", address, reason, text, extra=extra)


def words(error: BaseException) -> str:
    """What the TLS library says, of an error of `ssl` or of pyOpenSSL."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    listed = error.args[0] if error.args else ""
    if isinstance(listed, list):  # pyOpenSSL: (library, function, reason)
        return "; ".join(str(each[-1]) for each in listed) or "closed"
    return str(error) or type(error).__name__


def reason_of(text: str) -> str:
    lowered = text.lower()
    return next((reason for part, reason in _REASONS if part in lowered), "other")
