"""The one door: every write of this app happens inside `writing`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Model

from apps.common import audit
from apps.common.actors import Actor
from apps.common.errors import Duplicate, Gone

M = TypeVar("M", bound=Model)


@contextmanager
def writing(actor: Actor) -> Iterator[None]:
    """One transaction, whose audit entries carry the actor. Announcements made inside wait for the commit."""
    with audit.by(actor), transaction.atomic():
        yield


def locked(row: M) -> M:
    """The row as it is now, held until the transaction ends. `Gone` when somebody was faster."""
    model = type(row)
    try:
        found: M = model._default_manager.select_for_update().get(pk=row.pk)
        return found
    except model.DoesNotExist:  # type: ignore[attr-defined]
        raise Gone(f"This {model._meta.verbose_name} is gone.") from None


def save(row: M, what: str, same: Mapping[str, Any]) -> M:
    """Check and save. `Duplicate`, with the id of the row that fits `same`, when there is one already."""
    row.clean_fields()
    others = type(row)._default_manager.filter(**same).exclude(pk=row.pk)
    if (existing := others.values_list("pk", flat=True).first()) is not None:
        raise Duplicate(what, existing)
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:  # somebody was faster
        if (existing := others.values_list("pk", flat=True).first()) is None:
            raise
        raise Duplicate(what, existing) from None
    return row


def invalid(field: str, message: str, code: str) -> ValidationError:
    return ValidationError({field: ValidationError(message, code=code)})
