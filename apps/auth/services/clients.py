"""Change, disable, kick and unregister clients. They are registered in `registering`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import PermissionDenied

from apps.auth import announce, permissions
from apps.auth.models import Client, ClientGroup
from apps.auth.services.credentials import group_ids
from apps.auth.services.writing import locked, writing
from apps.common import audit
from apps.common.actors import Actor


@dataclass(frozen=True)
class ClientChanges:
    """None: stays as it is."""

    display_name: str | None = None
    owner: str | None = None
    enabled: bool | None = None
    transports: Sequence[str] | None = None
    groups: Collection[ClientGroup] | None = None


def update(actor: Actor, client: Client, changes: ClientChanges) -> Client:
    """ValidationError, PermissionDenied, Gone."""
    with writing(actor):
        client = locked(client)
        actor.require(permissions.CHANGE_CLIENT, group_ids(client))
        for name in ("display_name", "owner", "enabled", "transports"):
            value = getattr(changes, name)
            if value is not None:
                setattr(client, name, value)
        client.clean_fields()
        client.save()
        if changes.groups is not None:
            _move(actor, client, set(changes.groups))
        announce.changed("client", [client.client_id])
    return client


def _move(actor: Actor, client: Client, groups: set[ClientGroup]) -> None:
    """Who manages some groups moves clients between those, and none out of sight."""
    before = set(client.groups.all())
    if groups == before:
        return
    if not actor.may(permissions.CHANGE_CLIENT):
        managed = set(actor.groups(permissions.CHANGE_CLIENT))
        if not managed.issuperset(groups ^ before) or managed.isdisjoint(groups):
            raise PermissionDenied("You may move clients between the groups that you manage only.")
    client.groups.set(groups)


def set_enabled(actor: Actor, clients: Iterable[Client], enabled: bool) -> list[Client]:
    """Those that were not so already. A disabled client is disconnected and may not come back."""
    changed = []
    with writing(actor):
        for client in map(locked, clients):
            actor.require(permissions.CHANGE_CLIENT, group_ids(client))
            if client.enabled != enabled:
                client.enabled = enabled
                client.save(update_fields=["enabled", "updated_at"])
                changed.append(client)
        announce.changed("client", (client.client_id for client in changed))
    return changed


def kick(actor: Actor, clients: Iterable[Client]) -> int:
    """End their sessions now; they may come back. Answers how many were told to go, connected or not."""
    clients = list(clients)
    with writing(actor):
        for client in clients:
            actor.require(permissions.KICK_CLIENT, group_ids(client))
            audit.note(client, "kicked")
        announce.changed("kicked", (client.client_id for client in clients))
    return len(clients)


def unregister(actor: Actor, clients: Iterable[Client]) -> int:
    """Gone, with credentials and rules; after commit the session ends and its subscriptions and queue go."""
    with writing(actor):
        gone = []
        for client in map(locked, clients):
            actor.require(permissions.UNREGISTER, group_ids(client))
            gone.append(client.client_id)
            client.delete()
        announce.changed("unregistered", gone)
    return len(gone)


def seen(client_ids: Collection[str], at: datetime) -> None:
    """When these clients were last connected. Not audited: it is the platform that notes it, not somebody."""
    Client.objects.filter(client_id__in=client_ids).update(last_seen=at)
