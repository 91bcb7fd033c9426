from __future__ import annotations

from typing import Any

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Q


class KeyField(models.CharField):  # type: ignore[type-arg]
    """Text that compares and sorts by code point in every database, so that an index answers prefixes too.

    SQLite does so anyway; PostgreSQL's own order is the language's.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "postgresql":
            parameters["collation"] = "C"
        return parameters


class AsKey(Func):
    """A column of another table, to be compared with a KeyField."""

    template = "%(expressions)s"

    def as_postgresql(self, compiler: Any, connection: BaseDatabaseWrapper, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template='%(expressions)s COLLATE "C"', **context)


def starts_with(column: str, prefix: str) -> Q:
    """A KeyField's rows with this prefix, by its index; LIKE has no use for one in SQLite."""
    # U+10FFFF is not a character, so no text goes on with it.
    return Q(**{f"{column}__gte": prefix, f"{column}__lt": prefix + "\U0010ffff"})
