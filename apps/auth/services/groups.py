"""Make, rename and remove client groups."""

from __future__ import annotations

from collections.abc import Sequence

from apps.auth import announce, permissions
from apps.auth.models import ClientGroup
from apps.auth.services.writing import locked, save, writing
from apps.common.actors import Actor


def create(actor: Actor, name: str, description: str = "", namespace: Sequence[str] = ()) -> ClientGroup:
    """ValidationError, PermissionDenied, Duplicate."""
    with writing(actor):
        actor.require(permissions.ADD_GROUP)
        return _save(ClientGroup(name=name, description=description, namespace=list(namespace or ())))


def update(
    actor: Actor,
    group: ClientGroup,
    name: str | None = None,
    description: str | None = None,
    namespace: Sequence[str] | None = None,
) -> ClientGroup:
    """ValidationError, PermissionDenied, Duplicate, Gone."""
    with writing(actor):
        group = locked(group)
        actor.require(permissions.CHANGE_GROUP)
        renamed = name is not None and name != group.name
        group.name = group.name if name is None else name
        group.description = group.description if description is None else description
        narrowed = namespace is not None and list(namespace) != group.namespace
        group.namespace = group.namespace if namespace is None else list(namespace)
        _save(group)
        if narrowed:  # what operators may by the group
            announce.changed("operators", None)
        if renamed:  # ${group} means something else now
            announce.changed("rules", members(group))
        return group


def remove(actor: Actor, group: ClientGroup) -> None:
    """Its rules go with it, its clients stay."""
    with writing(actor):
        group = locked(group)
        actor.require(permissions.DELETE_GROUP)
        clients = members(group)
        group.delete()
        announce.changed("rules", clients)


def members(group: ClientGroup) -> list[str] | None:
    """Client ids of its clients, for an announcement; None when they are too many to name."""
    found = list(group.clients.order_by().values_list("client_id", flat=True)[: announce.MOST + 1])
    return found if len(found) <= announce.MOST else None


def _save(group: ClientGroup) -> ClientGroup:
    return save(group, "group", {"name": group.name})
