"""All that a CONNECT is decided on, by one query."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import JSONObject, Now
from django.utils import timezone

from apps.auth.bans import networks, pattern_fits
from apps.auth.facts import BanFacts, ClientFacts, ConnectFacts, CredentialFacts, RuleFacts
from apps.auth.models import AclRule, Ban, Client, ClientGroup, Credential

_KINDS = ("client", "credential", "account", "group", "rule", "ban")
_SCOPES = ("client", "group", "everyone")


def connect_facts(client_id: str, username: str | None = None, address: str = "") -> ConnectFacts:
    """One query. `username` and `address` (IP) find bans; an unknown client has rules and bans too."""
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in _KINDS}
    for kind, row in _fetch(client_id, username or "", networks(address)):
        rows[kind].append(json.loads(row))
    now = time.time()
    client = rows["client"][0] if rows["client"] else None
    return ConnectFacts(
        client=ClientFacts(client["id"], client_id, bool(client["enabled"]), client["transport_mask"])
        if client
        else None,
        credentials=tuple(
            facts
            for facts in (
                CredentialFacts(
                    **row | {"valid_until": _seconds(row["valid_until"]), "disputed": bool(row["disputed"])}
                )
                for row in sorted(rows["credential"], key=lambda row: row["id"])
            )
            if facts.valid_until is None or facts.valid_until > now
        ),
        groups=tuple(sorted(row["name"] for row in rows["group"])),
        rules=in_order(RuleFacts(**row | {"retain": bool(row["retain"])}) for row in rows["rule"]),
        bans=tuple(
            facts
            for facts in (
                BanFacts(**row | {"until": _seconds(row["until"])})
                for row in sorted(rows["ban"], key=lambda row: row["id"])
                if row["kind"] != "pattern" or pattern_fits(row["value"], client_id)
            )
            if facts.until is None or facts.until > now
        ),
        account=_account(rows["account"], now) if username else None,
    )


def _account(rows: list[dict[str, Any]], now: float) -> str:
    valid = [row for row in rows if (_seconds(row["valid_until"]) or now + 1) > now]
    return str(max(valid, key=lambda row: row["id"])["client__client_id"]) if valid else ""


def accounts(usernames: Collection[str]) -> dict[str, str]:
    """The `ConnectFacts.account` of user names; one query."""
    now = timezone.now()
    rows = Credential.objects.filter(username__in=usernames).exclude(client_ids="")
    valid = rows.filter(Q(valid_until=None) | Q(valid_until__gt=now)).order_by("id")
    return dict.fromkeys(usernames, "") | dict(valid.values_list("username", "client__client_id"))


def in_order(rules: Iterable[RuleFacts]) -> tuple[RuleFacts, ...]:
    """As AclRule says: by priority, then client, group, everyone, then deny before allow, then by id."""
    return tuple(
        sorted(rules, key=lambda r: (-r.priority, _SCOPES.index(r.scope), r.effect == "allow", r.id))
    )


def _fetch(client_id: str, username: str, around: tuple[str, ...]) -> list[tuple[str, str]]:
    """Rows of (kind, JSON object)."""
    sql, template = _compiled(len(around))
    given = dict(zip(_stand_ins(len(around)), (client_id, username, *around), strict=True))
    with connection.cursor() as cursor:
        cursor.execute(sql, [given.get(parameter, parameter) for parameter in template])
        rows: list[tuple[str, str]] = cursor.fetchall()
        return rows


@lru_cache(maxsize=4)
def _compiled(networks_count: int) -> tuple[str, tuple[Any, ...]]:
    """SQL and parameters, with stand-ins for what differs from CONNECT to CONNECT.

    Building the query costs the ORM 3 ms, thirty times what SQLite needs to answer it.
    """
    client_id, username, *around = _stand_ins(networks_count)
    return _query(client_id, username, around).query.sql_with_params()


@lru_cache(maxsize=4)
def _stand_ins(networks_count: int) -> tuple[str, ...]:
    """No parameter of the query itself has a U+0000."""
    return ("\0client_id", "\0username", *(f"\0{index}" for index in range(networks_count)))


def _query(client_id: str, username: str, around: list[str]) -> QuerySet[Any, Any]:
    rules = AclRule.objects.order_by()
    banned = (
        Q(kind="client_id", value=client_id)
        | Q(kind="username", value=username)
        | Q(kind="address", value__in=around)
        | Q(kind="pattern")
    )
    return _rows("client", Client.objects.filter(client_id=client_id), "id enabled transport_mask").union(
        _rows(
            "credential",
            Credential.objects.filter(client__client_id=client_id),
            "id kind username secret scram subject claim claim_value valid_until client_ids verifier",
            disputed=disputed(),
        ),
        _rows(
            "account",
            Credential.objects.filter(username=username).exclude(client_ids=""),
            "id client__client_id valid_until",
        ),
        _rows("group", ClientGroup.objects.filter(clients__client_id=client_id), "name"),
        _rule_rows(rules.filter(client__client_id=client_id), "client", Value("")),
        _rule_rows(rules.filter(group__clients__client_id=client_id), "group", F("group__name")),
        _rule_rows(rules.filter(client=None, group=None), "everyone", Value("")),
        _rows("ban", Ban.objects.filter(banned), "id kind value until reason"),
        all=True,
    )


def disputed() -> Exists:
    """Of a credential: is its user name another client's by right: without end, or given earlier?

    Services give a name to one client only; this is for rows from before they did.
    """
    others = Credential.objects.filter(username=OuterRef("username")).exclude(username="")
    others = others.exclude(client=OuterRef("client")).filter(
        Q(valid_until=None) | Q(id__lt=OuterRef("id"), valid_until__gt=Now())
    )
    return Exists(others.order_by().values("id"))


def _rule_rows(rules: QuerySet[AclRule], scope: str, group: Any) -> QuerySet[Any, Any]:
    columns = "id effect action filter max_qos retain priority"
    return _rows("rule", rules, columns, scope=Value(scope), group=group)


def _rows(kind: str, rows: QuerySet[Any], columns: str, **more: Any) -> QuerySet[Any, Any]:
    named = {name: F(name) for name in columns.split()} | more
    shaped = rows.annotate(row_kind=Value(kind), row=JSONObject(**named))
    return shaped.order_by().values_list("row_kind", "row")  # type: ignore[no-any-return]


def _seconds(written: str | None) -> float | None:
    """UNIX seconds of a time as the database writes it into JSON: PostgreSQL with its zone, SQLite in UTC."""
    if written is None:
        return None
    found = datetime.fromisoformat(written)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
