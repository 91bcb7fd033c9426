"""The [log] table as Django's LOGGING: one handler, standard error, text or one JSON object a line.

Whoever can reach a listener can make the node say something, as often as he likes: each kind of line, which
is a logger and a text before its values are filled in, comes `log.repeats` times in a minute at most, then
how many were left out. Lines of level debug are not counted.
"""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from gmqtt_platform.config.loader import LogConf

MINUTE: Final = 60.0  # seconds
KINDS: Final = 1000  # of lines that are told apart
_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """time (RFC 3339, UTC), level, logger, message, exception; and whatever `extra` the caller gave."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        line |= {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Standard error, with `repeats` lines of a kind in a minute at most (0: all)."""

    def __init__(self, repeats: int, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._repeats = repeats
        self._clock = clock
        self._minute = clock()
        self._lines: Counter[tuple[str, str]] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """The caller, `handle`, has the handler's lock."""
        if self._clock() - self._minute >= MINUTE:
            self._turn()
        if self._repeats and record.levelno > logging.DEBUG:
            kind = record.name, str(record.msg)[:200]
            if len(self._lines) >= KINDS and kind not in self._lines:  # texts that were filled in already
                kind = record.name, ""
            self._lines[kind] += 1
            if self._lines[kind] > self._repeats:
                return
        super().emit(record)

    def close(self) -> None:
        self._turn()
        super().close()

    def _turn(self) -> None:
        """A new minute: say what the last one left out."""
        lines, self._lines, self._minute = self._lines, Counter(), self._clock()
        for (logger, text), count in lines.items():
            if count > self._repeats:
                values = {"left_out": count - self._repeats, "logger": logger, "text": text}
                said = "%(left_out)d more lines of %(logger)s were left out: %(text)s"
                record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, said, (values,), None)
                super().emit(record)


def logging_config(conf: LogConf) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "text": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"},
            "json": {"()": JsonFormatter},
        },
        "handlers": {"stderr": {"()": BoundedHandler, "repeats": conf.repeats, "formatter": conf.format}},
        "root": {"handlers": ["stderr"], "level": conf.level.upper()},
        # Django's own handlers (console in DEBUG, mail to admins) give way to the root's.
        "loggers": {
            "django": {"handlers": [], "propagate": True},
            "django.security.DisallowedHost": {"level": "CRITICAL"},  # strangers write Host
            "django.server": {"handlers": [], "propagate": True},
            "axes": {"level": "WARNING"},  # at info it tells of every login
            "daphne": {"level": "WARNING"},  # at info it tells of options that the node does not use
        },
    }
