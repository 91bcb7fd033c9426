"""Whoever asks for something: an operator, a service account, or the platform itself.

The models of clients and of their groups are named by settings, as Django's user model is: another app owns
them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from guardian.shortcuts import get_objects_for_user

from apps.common import rbac


def _groups() -> Any:
    model: type[Model] = apps.get_model(settings.GMQTT_CLIENT_GROUP_MODEL)
    return model


@dataclass(frozen=True)
class Actor:
    key: str  # user:<id>, service:<id> or system; names the actor for good
    name: str
    user: AbstractUser | None = None
    permissions: frozenset[str] = field(default=frozenset(), repr=False)  # of a service account
    address: str = ""  # IP address it asks from, "" when unknown

    # Django's and DRF's questions to `request.user`
    is_active = True
    is_authenticated = True
    is_anonymous = False

    def may(self, permission: str) -> bool:
        """Everywhere, not only in some client groups."""
        if self.key == SYSTEM.key:
            return permission in rbac.PERMISSIONS
        if self.user is not None:
            return self.user.is_active and self.user.has_perm(permission)
        return permission in self.permissions

    def groups(self, permission: str) -> QuerySet[Any]:
        """The groups to which the actor's right is limited, when it has it not everywhere."""
        wanted = rbac.IN_A_GROUP.get(permission, ())
        if self.user is None or not wanted or not self.user.is_active:
            return _groups().objects.none()
        mine: QuerySet[Any] = get_objects_for_user(
            self.user,
            list(wanted),
            _groups(),
            any_perm=True,
            accept_global_perms=False,
            with_superuser=False,
        )
        return mine

    def clients(self, permission: str) -> QuerySet[Any]:
        """The clients in the groups to which the actor's right is limited."""
        model: Any = apps.get_model(settings.GMQTT_CLIENT_MODEL)
        members = model.groups.through.objects.filter(clientgroup__in=self.groups(permission))
        found: QuerySet[Any] = model.objects.filter(pk__in=members.values("client_id"))
        return found

    def may_somewhere(self, permission: str) -> bool:
        return self.may(permission) or self.groups(permission).exists()

    def require(self, permission: str, group_ids: set[int] | None = None) -> None:
        """Raise PermissionDenied unless the actor has the permission everywhere or in one of the groups."""
        if self.may(permission):
            return
        if group_ids and self.groups(permission).filter(pk__in=group_ids).exists():
            return
        raise PermissionDenied(f"{self.name} lacks {permission}")

    def at(self, address: str) -> Actor:
        return replace(self, address=address)


# The platform itself: upkeep, automatic bans, management commands.
SYSTEM = Actor("system", "system")


def of_user(user: Any, address: str = "") -> Actor:
    return Actor(f"user:{user.pk}", user.get_username(), user=user, address=address)
