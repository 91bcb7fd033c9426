"""The files of the TLS listeners: read again when they change, watched until they expire."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from apps.gateway.net.tls import Tls, revocation_lists, server_context

logger = logging.getLogger(__name__)

DAY: Final = 86_400
WARN_DAYS: Final = (30, 7, 1, 0)  # days before the end at which the log warns
ILL_DAYS: Final = 7  # below that the health check fails


@dataclass
class Certificates:
    """New connections get what the files held when they were last read; nobody is disconnected.

    Files that cannot be used change nothing: the listeners go on with what they had. Each reading makes a
    context of its own, with ticket keys of its own: a session that was begun under a client CA which is no
    longer trusted, or before a certificate was revoked, cannot be resumed.
    """

    tls: Tls
    listeners: Sequence[str] = ("tls",)  # tls | https
    now: Callable[[], float] = time.time
    # One for each other kind of listener: reads the files, and answers what puts them to use.
    prepare: list[Callable[[], Callable[[], None]]] = field(default_factory=list)
    error: str = ""  # why the files that are there now are not used

    def __post_init__(self) -> None:
        self._seen = self._marks()
        self._current = server_context(self.tls)
        self._ends = expiries(self.tls)
        self._warned: dict[str, tuple[float, int]] = {}  # role -> (end, days) that the log has told
        if self.tls.weakness:
            logger.warning(
                "TLS for old devices is on (%s): others should have a node of their own", self.tls.weakness
            )
        self._complain()

    def context(self) -> ssl.SSLContext:
        """For a connection that begins now."""
        return self._current

    def _marks(self) -> tuple[tuple[int, int], ...]:
        """What changes with the files: time and size of each, (0, 0) where there is none."""
        marks = []
        for path in (self.tls.cert, self.tls.key, self.tls.client_ca, self.tls.crl):
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
            self._complain()
            return None
        self._seen = marks
        return self.reload()

    def reload(self) -> bool:
        """Read the files again."""
        self._seen = self._marks()
        try:
            current = server_context(self.tls)
            ends = expiries(self.tls)
            for role, end in ends.items():
                if end < self.now() < self._ends.get(role, 0.0):
                    raise ValueError(f"{self.path(role)} expired {ago(self.now() - end)} ago")
            prepared = [prepare() for prepare in self.prepare]
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self.error = str(error) or type(error).__name__
            logger.error(
                "the new certificate is not used, the old one stays: %s: %s", self.tls.cert, self.error
            )
            return False
        self._current = current
        self._ends = ends
        for put_to_use in prepared:
            put_to_use()
        self.error = ""
        logger.info("certificate read again: %s", self.tls.cert)
        self._complain()
        return True

    def path(self, role: str) -> Path:
        path = {"certificate": self.tls.cert, "client_ca": self.tls.client_ca, "crl": self.tls.crl}[role]
        assert path is not None
        return path

    def expiry(self) -> list[tuple[dict[str, str], float]]:
        """Labels and UNIX time of the end, for each listener and file that is in use."""
        return [
            ({"listener": listener, "file": str(self.path(role))}, end)
            for listener in self.listeners
            for role, end in self._ends.items()
        ]

    def status(self) -> dict[str, Any]:
        """For health checks: are the files in use, and for how long are they good?"""
        days = {role: int((end - self.now()) // DAY) for role, end in self._ends.items()}
        note = self.error
        if not note and min(days.values()) < ILL_DAYS:
            role = min(days, key=lambda each: days[each])
            note = f"{self.path(role)}: " + (f"{days[role]} days left" if days[role] >= 0 else "expired")
        return {"ok": not note, "error": self.error, "note": note, "days_left": days}

    def _complain(self) -> None:
        """Warn once for each mark that a file has passed."""
        now = self.now()
        for role, end in self._ends.items():
            passed = [days for days in WARN_DAYS if end - now < days * DAY]
            if not passed or self._warned.get(role) == (end, passed[-1]):
                continue
            self._warned[role] = (end, passed[-1])
            if end < now:
                refused = "clients with certificates are" if role == "crl" else "connections may be"
                text = "%s expired %s ago: %s refused until there is a new one"
                logger.error(text, self.path(role), ago(now - end), refused)
            else:
                logger.warning("%s expires in %s", self.path(role), ago(end - now))


def ago(seconds: float) -> str:
    days, hours = int(seconds // DAY), int(seconds // 3600)
    return f"{days} days" if days > 1 else f"{hours} hours" if hours > 1 else f"{int(seconds)} seconds"


def expiries(tls: Tls) -> dict[str, float]:
    """Role -> UNIX time at which the first in the file expires: certificate, client_ca, crl."""
    ends = {"certificate": _first_end(tls.cert)}
    if tls.client_ca is not None and tls.client_auth != "none":
        ends["client_ca"] = _first_end(tls.client_ca)
        if tls.crl is not None:
            nexts = [crl.next_update_utc for crl in revocation_lists(tls.crl)]
            due = [each.timestamp() for each in nexts if each is not None]
            if due:
                ends["crl"] = min(due)
    return ends


def _first_end(path: Path) -> float:
    found = x509.load_pem_x509_certificates(path.read_bytes())
    return min(each.not_valid_after_utc for each in found).timestamp()
