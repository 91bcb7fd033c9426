"""Lists of rows, limited to those that the actor's permission reaches."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet

from apps.auth import permissions
from apps.auth.models import AclRule, Client, ClientGroup, Credential
from apps.common.actors import Actor


def clients(actor: Actor, permission: str = permissions.VIEW_CLIENT) -> QuerySet[Client]:
    """All, or those in the groups to which the permission is limited."""
    if actor.may(permission):
        return Client.objects.all()
    return Client.objects.filter(pk__in=_members(actor, permission))


def credentials(actor: Actor, permission: str = permissions.VIEW_CREDENTIAL) -> QuerySet[Credential]:
    found = Credential.objects.select_related("client")
    if actor.may(permission):
        return found
    return found.filter(client__in=_members(actor, permission))


def username_of(client: Client) -> str:
    """Of the credential it most likely comes in by: the newest without end. "" when there is none."""
    found = Credential.objects.filter(client=client, valid_until=None).exclude(username="").order_by("-id")
    return found.values_list("username", flat=True).first() or ""


def groups(actor: Actor, permission: str = permissions.VIEW_GROUP) -> QuerySet[ClientGroup]:
    if actor.may(permission):
        return ClientGroup.objects.all()
    return ClientGroup.objects.filter(pk__in=_ids(actor, permission))


def rules(actor: Actor, permission: str = permissions.VIEW_RULE) -> QuerySet[AclRule]:
    """Rules for everyone are seen by who sees all."""
    found = AclRule.objects.select_related("client", "group")
    if actor.may(permission):
        return found
    return found.filter(Q(client__in=_members(actor, permission)) | Q(group__in=_ids(actor, permission)))


def _ids(actor: Actor, permission: str) -> list[int]:
    return list(actor.groups(permission).values_list("pk", flat=True))


def _members(actor: Actor, permission: str) -> QuerySet[Any]:
    """A subquery of the ids of the clients in those groups."""
    member = Client.groups.through.objects.filter(clientgroup__in=_ids(actor, permission))
    return member.values("client")
