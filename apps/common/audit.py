"""The audit trail: django-auditlog writes a LogEntry, with before and after, for every write of our models.

This module tells it who wrote. `LogEntry.actor` can only be a Django user, so the actor stands in
`additional_data` too, which serves operators, service accounts and the platform alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from auditlog.diff import model_instance_diff
from auditlog.models import LogEntry
from auditlog.registry import auditlog
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.db.models.signals import pre_save
from django.http import HttpRequest
from guardian.models import GroupObjectPermission, UserObjectPermission

from apps.common.actors import SYSTEM, Actor, of_user

# A request, where nobody said more: its user writes.
_actor: ContextVar[Actor | HttpRequest] = ContextVar("mqtt_auth_actor", default=SYSTEM)


@contextmanager
def by(actor: Actor | HttpRequest) -> Iterator[None]:
    """What is written inside was written by `actor`, or by the user of the request."""
    token = _actor.set(actor)
    try:
        yield
    finally:
        _actor.reset(token)


def start() -> None:
    """Sign every entry, and watch Django's and guardian's models; each app watches its own by `watch`."""
    # Who was given which right is written by Django's and guardian's own pages.
    watch(get_user_model(), skip=("last_login",), m2m=("groups", "user_permissions"))
    watch(Group, m2m=("permissions",))
    watch(UserObjectPermission)
    watch(GroupObjectPermission)
    pre_save.connect(_sign, sender=LogEntry, dispatch_uid="mqtt_auth.audit")


def watch(model: type[Model], skip: tuple[str, ...] = (), m2m: tuple[str, ...] = ()) -> None:
    """Write an entry for each change of a row, with all columns but `skip`. For `AppConfig.ready`."""
    auditlog.register(
        model,
        # Named, because auditlog's own choice holds the managers of reverse relations too.
        include_fields=[field.name for field in model._meta.concrete_fields if field.name not in skip],
        mask_fields=["secret", "scram", "signing_key", "password"],
        mask_callable="apps.common.audit.hide",
        m2m_fields=m2m,
    )


def hide(value: str) -> str:
    """That a secret changed is told, nothing of what it is."""
    return "" if value in ("", "None") else "***"


def created(rows: Sequence[Model], extra: Sequence[dict[str, Any]] | None = None) -> None:
    """The entries for rows made by bulk_create, which sends no signals. `extra`: more changes, row by row."""
    entries = []
    for index, row in enumerate(rows):
        changes = model_instance_diff(None, row, use_json_for_changes=True) or {}
        about: dict[str, Any] = getattr(row, "get_additional_data", dict)()
        entries.append(
            _signed(
                LogEntry(
                    content_type=ContentType.objects.get_for_model(row),
                    object_pk=str(row.pk),
                    object_id=row.pk,
                    object_repr=str(row),
                    action=LogEntry.Action.CREATE,
                    changes=changes | (extra[index] if extra else {}),
                    additional_data=about,
                )
            )
        )
    LogEntry.objects.bulk_create(entries, batch_size=1000)


def note(row: Model, what: str) -> None:
    """An entry for something done to the row that changes no column of it."""
    LogEntry.objects.log_create(row, action=LogEntry.Action.ACCESS, changes={what: [None, True]})


def did(row: Model, what: str, **details: Any) -> None:
    """An entry for something done that changes no row of ours; `row` is what it was done to, saved or not."""
    LogEntry.objects.create(
        content_type=ContentType.objects.get_for_model(row),
        object_pk=str(row.pk or ""),
        object_id=row.pk,
        object_repr=str(row),
        action=LogEntry.Action.ACCESS,
        changes={what: [None, details or True]},
        additional_data=getattr(row, "get_additional_data", dict)(),
    )


def _sign(sender: type[Model], instance: LogEntry, **kwargs: Any) -> None:
    _signed(instance)


def _signed(entry: LogEntry) -> LogEntry:
    actor = _actor.get()
    if isinstance(actor, HttpRequest):
        address = str(actor.META.get("REMOTE_ADDR") or "")
        actor = of_user(actor.user, address) if actor.user.is_authenticated else SYSTEM.at(address)
    entry.actor = entry.actor or actor.user
    entry.remote_addr = entry.remote_addr or actor.address or None
    entry.additional_data = {"by": actor.key, "name": actor.name} | (entry.additional_data or {})
    return entry
