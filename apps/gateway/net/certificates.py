"""The files of the TLS listeners: read again when they change, watched until they expire."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509

from apps.gateway.net.tls import Tls, revocation_lists, server_context

logger = logging.getLogger(__name__)

DAY: Final = 86_400
WARN_DAYS: Final = (30, 7, 1, 0)  # days before the end at which the log warns
ILL_DAYS: Final = 7  # below that the health check fails


class Lasts(NamedTuple):
    """From when until when a file is good, UNIX time."""

    begin: float
    end: float

    @property
    def marks(self) -> tuple[int, ...]:
        """Days before the end at which to warn: not of what is renewed in a third of its time as a rule."""
        return tuple(days for days in WARN_DAYS if days * 3 * DAY <= self.end - self.begin)

    @property
    def ill_days(self) -> int:
        return max(days for days in self.marks if days <= ILL_DAYS)


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
        self._ends = lifetimes(self.tls)
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
            ends = lifetimes(self.tls)
            for role, end in ends.items():
                if end.end < self.now() and (role not in self._ends or self.now() < self._ends[role].end):
                    raise ValueError(f"{self.path(role)} expired {ago(self.now() - end.end)} ago")
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
            ({"listener": listener, "file": str(self.path(role))}, lasts.end)
            for listener in self.listeners
            for role, lasts in self._ends.items()
        ]

    def status(self) -> dict[str, Any]:
        """For health checks: are the files in use, and for how long are they good?"""
        days = {role: int((lasts.end - self.now()) // DAY) for role, lasts in self._ends.items()}
        note = self.error
        for role, lasts in self._ends.items():
            if not note and days[role] < lasts.ill_days:
                note = f"{self.path(role)}: " + (f"{days[role]} days left" if days[role] >= 0 else "expired")
        return {"ok": not note, "error": self.error, "note": note, "days_left": days}

    def _complain(self) -> None:
        """Warn once for each mark that a file has passed."""
        now = self.now()
        for role, lasts in self._ends.items():
            passed = [days for days in lasts.marks if lasts.end - now < days * DAY]
            if not passed or self._warned.get(role) == (lasts.end, passed[-1]):
                continue
            self._warned[role] = (lasts.end, passed[-1])
            if lasts.end < now:
                refused = "clients with certificates are" if role == "crl" else "connections may be"
                text = "%s expired %s ago: %s refused until there is a new one"
                logger.error(text, self.path(role), ago(now - lasts.end), refused)
            else:
                logger.warning("%s expires in %s", self.path(role), ago(lasts.end - now))


def ago(seconds: float) -> str:
    days, hours = int(seconds // DAY), int(seconds // 3600)
    return f"{days} days" if days > 1 else f"{hours} hours" if hours > 1 else f"{int(seconds)} seconds"


def lifetimes(tls: Tls) -> dict[str, Lasts]:
    """Of the first in each file to expire, by role: certificate, client_ca, crl. ValueError: not readable."""
    found = {"certificate": _of_certificates(tls.cert)}
    if tls.client_ca is not None and tls.client_auth != "none":
        found["client_ca"] = _of_certificates(tls.client_ca)
        if tls.crl is not None:
            due = [
                Lasts(each.last_update_utc.timestamp(), each.next_update_utc.timestamp())
                for each in revocation_lists(tls.crl)
                if each.next_update_utc is not None
            ]
            if due:
                found["crl"] = min(due, key=lambda each: each.end)
    return found


def _of_certificates(path: Path) -> Lasts:
    found = x509.load_pem_x509_certificates(path.read_bytes())
    every = [
        Lasts(each.not_valid_before_utc.timestamp(), each.not_valid_after_utc.timestamp()) for each in found
    ]
    return min(every, key=lambda each: each.end)
