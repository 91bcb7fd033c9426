"""The facts of many clients by a handful of queries: for a change that concerns everyone who is connected."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection
from dataclasses import fields
from typing import Any, Final

from django.db.models import F, Q

from apps.auth.facts import ClientFacts, ConnectFacts, CredentialFacts, RuleFacts
from apps.auth.models import AclRule, Client, Credential
from apps.auth.selectors.connect import disputed, in_order

BATCH_SIZE: Final = 500  # clients; SQLite takes 32,766 parameters in a statement


def facts_of(client_ids: Collection[str]) -> dict[str, ConnectFacts]:
    """By client id, without bans; four queries. `client` is None for an id that is not registered."""
    clients = {
        row["id"]: row
        for row in Client.objects.filter(client_id__in=client_ids)
        .order_by()
        .values("id", "client_id", "enabled", "transport_mask")
    }
    groups = _groups(clients)
    credentials = _credentials(clients)
    of_client, of_group, everyone = _rules(clients, {group for each in groups.values() for group in each})
    found = {}
    for id, row in clients.items():
        rules = [*everyone, *of_client[id]]
        for group in groups[id]:
            rules += of_group[group]
        found[row["client_id"]] = ConnectFacts(
            ClientFacts(**row), tuple(credentials[id]), tuple(sorted(groups[id])), in_order(rules), ()
        )
    stranger = ConnectFacts(None, (), (), in_order(everyone), ())
    return {client_id: found.get(client_id, stranger) for client_id in client_ids}


def _groups(ids: Collection[int]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    rows = Client.groups.through.objects.filter(client_id__in=ids).order_by()
    for client, group in rows.values_list("client_id", "clientgroup__name"):
        found[client].append(group)
    return found


def _credentials(ids: Collection[int]) -> dict[int, list[CredentialFacts]]:
    found: dict[int, list[CredentialFacts]] = defaultdict(list)
    columns = tuple(each.name for each in fields(CredentialFacts))
    now = time.time()
    row: dict[str, Any]
    rows = Credential.objects.filter(client_id__in=ids).annotate(disputed=disputed()).order_by("id")
    for row in rows.values("client_id", "disputed", *columns):
        until = row["valid_until"].timestamp() if row["valid_until"] is not None else None
        if until is None or until > now:
            client = row.pop("client_id")
            found[client].append(CredentialFacts(**row | {"valid_until": until}))
    return found


def _rules(
    ids: Collection[int], groups: Collection[str]
) -> tuple[dict[int, list[RuleFacts]], dict[str, list[RuleFacts]], list[RuleFacts]]:
    of_client: dict[int, list[RuleFacts]] = defaultdict(list)
    of_group: dict[str, list[RuleFacts]] = defaultdict(list)
    everyone: list[RuleFacts] = []
    wanted = Q(client__in=ids) | Q(group__name__in=groups) | Q(client=None, group=None)
    columns = ("id", "effect", "action", "filter", "max_qos", "retain", "priority")
    rows = AclRule.objects.filter(wanted).order_by().annotate(group_name=F("group__name"))
    row: dict[str, Any]
    for row in rows.values("client_id", "group_name", *columns):
        client, group = row.pop("client_id"), row.pop("group_name")
        if client is not None:
            of_client[client].append(RuleFacts(**row, scope="client", group=""))
        elif group is not None:
            of_group[group].append(RuleFacts(**row, scope="group", group=group))
        else:
            everyone.append(RuleFacts(**row, scope="everyone", group=""))
    return of_client, of_group, everyone
