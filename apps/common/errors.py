"""Why a verb of `services` refused. Beside these: Django's ValidationError and PermissionDenied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Duplicate(Exception):
    """What was to be made is there already; `existing_id` is its row's."""

    def __init__(self, what: str, existing_id: int | None) -> None:
        self.what = what
        self.existing_id = existing_id
        super().__init__(f"This {what} exists already.")


class Gone(Exception):
    """The row went away between reading and writing."""


class BadRows(Exception):
    """Some rows of a bulk request cannot be taken, and all or nothing was asked for. `rows` has all."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows
        super().__init__("Some rows cannot be taken; nothing was written.")


class Unauthenticated(Exception):
    """A service account's proof does not hold. `code` says no more than the caller may know."""

    def __init__(self, code: str, detail: str) -> None:
        self.code = code
        super().__init__(detail)
