"""Announces that operators' permissions changed. Django's and guardian's own pages write them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db.models.signals import m2m_changed, post_delete, post_save
from guardian.models import GroupObjectPermission, UserObjectPermission

from apps.auth import announce


def start() -> None:
    """Called once the models are there."""
    user: Any = get_user_model()
    for model in (user, UserObjectPermission, GroupObjectPermission):
        post_save.connect(_saved, sender=model, dispatch_uid=f"mqtt_auth.saved.{model.__name__}")
    for model in (user, Group, UserObjectPermission, GroupObjectPermission):
        post_delete.connect(_changed, sender=model, dispatch_uid=f"mqtt_auth.deleted.{model.__name__}")
    for through in (user.groups.through, user.user_permissions.through, Group.permissions.through):
        m2m_changed.connect(_members, sender=through, dispatch_uid=f"mqtt_auth.members.{through.__name__}")


def _saved(raw: bool = False, created: bool = False, **kwargs: Any) -> None:
    fields = kwargs.get("update_fields")
    if raw or (fields is not None and set(fields) <= {"last_login", "password"}):
        return  # a fixture is loaded, or somebody only signed in
    if created and not isinstance(kwargs.get("instance"), (UserObjectPermission, GroupObjectPermission)):
        return  # a user without any rights yet
    announce.changed("operators", None)


def _changed(**kwargs: Any) -> None:
    announce.changed("operators", None)


def _members(action: str, **kwargs: Any) -> None:
    if action.startswith("post_"):
        announce.changed("operators", None)
