"""Ban, change bans, lift them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone

from apps.auth import announce, permissions
from apps.auth.models import Ban
from apps.auth.services import upkeep
from apps.auth.services.writing import invalid, locked, save, writing
from apps.common.actors import SYSTEM, Actor
from apps.common.errors import Duplicate
from apps.common.validators import network

# `*` in one pattern. Each costs a connecting client's id one more search.
MAX_STARS = 8


def create(
    actor: Actor,
    kind: str,
    value: str,
    until: datetime | None = None,
    reason: str = "",
    automatic: bool = False,
) -> Ban:
    """A ban that has ended makes room for a new one. ValidationError, PermissionDenied, Duplicate."""
    with writing(actor):
        actor.require(permissions.ADD_BAN)
        upkeep.forget_bans(timezone.now())
        value = spelled(kind, value)
        ban = Ban.objects.select_for_update().filter(kind=kind, value=value).first()
        if ban is not None and ban.is_active:
            raise Duplicate("ban", ban.pk)
        ban = ban or Ban(kind=kind, value=value)
        ban.until, ban.reason, ban.automatic = until, reason, automatic
        return _save(ban)


def ban_for_a_while(kind: str, value: str, until: datetime, reason: str) -> Ban | None:
    """What the node does after too many failed attempts. None: there is such a ban."""
    try:
        return create(SYSTEM, kind, value, until, reason, automatic=True)
    except Duplicate:
        return None


def update(actor: Actor, ban: Ban, **changes: Any) -> Ban:
    """`changes`: until, reason. ValidationError, PermissionDenied, Gone."""
    with writing(actor):
        actor.require(permissions.CHANGE_BAN)
        ban = locked(ban)
        for name, value in changes.items():
            setattr(ban, name, value)
        return _save(ban)


def lift(actor: Actor, bans: Iterable[Ban]) -> int:
    """PermissionDenied, Gone."""
    count = 0
    with writing(actor):
        actor.require(permissions.DELETE_BAN)
        for ban in map(locked, bans):
            ban.delete()
            count += 1
        announce.changed("bans", None)
    return count


def spelled(kind: str, value: str) -> str:
    """The one spelling of a ban's value. ValidationError when there is none."""
    if kind == Ban.Kind.ADDRESS:
        return network(value)
    if kind == Ban.Kind.PATTERN and value.count("*") > MAX_STARS:
        raise invalid("value", f"At most {MAX_STARS} times *.", "too_many_stars")
    return value


def _save(ban: Ban) -> Ban:
    if ban.until is not None and ban.until <= timezone.now():
        raise invalid("until", "This is in the past.", "in_the_past")
    save(ban, "ban", {"kind": ban.kind, "value": ban.value})
    announce.changed("bans", None)
    return ban
