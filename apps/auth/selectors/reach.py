"""What an operator may read and publish by himself, as access rules for his token."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.urls import reverse

from apps.auth import acl, permissions
from apps.auth.facts import ConnectFacts, RuleFacts
from apps.auth.models import Client
from apps.auth.providers.bulk import BATCH_SIZE, facts_of
from apps.auth.selectors.visible import clients
from apps.common.actors import Actor, of_user
from apps.common.scopes import Scope

MAX_RULES: Final = 256  # as many as a token may carry
MAX_CLIENTS: Final = 1000  # that are looked at: their topics would not fit anyway, unless they share them
MAX_BYTES: Final = 24_576  # of their filters: a token is the password of a CONNECT, at most 65,535 bytes

Claim = dict[str, Any]  # as providers.jwt.claims.rules_of reads it


MAX_TOPICS: Final = 20  # subscriptions that a link to the web client asks for


class Reach(NamedTuple):
    rules: tuple[Claim, ...]
    left_out: int  # clients whose topics did not fit


def reach(actor: Actor) -> Reach:
    """By READ_MESSAGES and PUBLISH_MESSAGES: everywhere, or for the clients of some groups.

    For those clients, reading reaches what they may publish or subscribe to, publishing what they may
    subscribe to. What is denied to a client stays denied for what it is allowed behind that.
    """
    rules: dict[tuple[Any, ...], Claim] = {}
    if actor.may(permissions.READ_MESSAGES):
        for filter in ("#", "$SYS/#"):
            _put(rules, _claim("allow", "subscribe", filter))
    if actor.may(permissions.PUBLISH_MESSAGES):
        _put(rules, _claim("allow", "publish", "#"))
    size = left_out = 0
    for permission in (permissions.READ_MESSAGES, permissions.PUBLISH_MESSAGES):
        if actor.may(permission):
            continue
        members = clients(actor, permission)
        namespaces = dict(actor.groups(permission).values_list("name", "namespace"))
        without = max(members.count() - MAX_CLIENTS, 0)
        for client_id, facts in _facts(members.order_by("id")[:MAX_CLIENTS]):
            claims = _inside(_of_client(client_id, facts, permission), facts.groups, namespaces)
            found = [claim for claim in claims if _key(claim) not in rules]
            length = sum(len(claim["filter"].encode()) for claim in found)
            if len(rules) + len(found) > MAX_RULES or size + length > MAX_BYTES:
                without += 1
                continue
            size += length
            for claim in found:
                _put(rules, claim)
        left_out = max(left_out, without)
    return Reach(tuple(rules.values()), left_out)


def _inside(claims: list[Claim], groups: Iterable[str], namespaces: dict[str, list[str]]) -> list[Claim]:
    """Cut to the namespaces of the groups that give the right; where one of them has none, they stay whole.

    A claim that denies takes something away, and does so wherever it is.
    """
    giving = [namespaces[name] for name in groups if name in namespaces]
    if not all(giving):
        return claims
    scope = Scope(tuple(sorted({prefix for prefixes in giving for prefix in prefixes})))
    found: list[Claim] = []
    for claim in claims:
        if claim.get("effect") == "deny":
            found.append(claim)
        else:
            found += [claim | {"filter": filter} for filter in scope.inside(claim["filter"])]
    while found and found[-1].get("effect") == "deny":
        found.pop()
    return found


def reach_of(user_id: int) -> tuple[Claim, ...]:
    """What the operator may by himself now; nothing, where he may no longer come into the console."""
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    if user is None or not (user.is_active and user.is_staff):
        return ()
    return reach(of_user(user)).rules


def web_client_url(client_id: str) -> str:
    """The web client, subscribing to what this client may publish and subscribe to, as the operator."""
    claims = _of_client(client_id, facts_of([client_id])[client_id], permissions.READ_MESSAGES)
    filters = dict.fromkeys(claim["filter"] for claim in claims if "effect" not in claim)
    # Each is encoded by itself, so that a comma in a filter is none between two.
    topics = ",".join(quote(filter, safe="") for filter in list(filters)[:MAX_TOPICS])
    return f"{reverse('web-client')}?{urlencode({'connect': 'operator', 'topics': topics})}"


def _facts(rows: QuerySet[Client]) -> Iterator[tuple[str, ConnectFacts]]:
    ids = list(rows.values_list("client_id", flat=True))
    for start in range(0, len(ids), BATCH_SIZE):
        some = ids[start : start + BATCH_SIZE]
        facts = facts_of(some)
        for client_id in some:
            yield client_id, facts[client_id]


def _of_client(client_id: str, facts: ConnectFacts, permission: str) -> list[Claim]:
    lasting = [each.username for each in facts.credentials if each.username and each.valid_until is None]
    subject = acl.Subject(client_id, lasting[-1] if lasting else "", "", facts.groups)
    if permission == permissions.PUBLISH_MESSAGES:
        return _turned(facts.rules, subject, "subscribe", "publish")
    return [
        *_turned(facts.rules, subject, "publish", "subscribe"),
        *_turned(facts.rules, subject, "subscribe", "subscribe"),
    ]


def _turned(rules: Iterable[RuleFacts], subject: acl.Subject, theirs: str, ours: str) -> list[Claim]:
    """The client's rules about the action `theirs` as the operator's about `ours`, in their order.

    Denials that no allow rule follows say nothing, and would take from the operator what another client has.
    """
    found = [
        _claim(rule.effect, ours, filter, rule.max_qos, rule.retain)
        for rule in rules
        if rule.action in (theirs, "both")
        for filter in acl.filled(rule, subject)
    ]
    while found and found[-1].get("effect") == "deny":
        found.pop()
    return found


def _claim(effect: str, action: str, filter: str, max_qos: int = 2, retain: bool = True) -> Claim:
    """Without what `rules_of` assumes anyway."""
    given = {"effect": effect, "action": action, "filter": filter, "max_qos": max_qos, "retain": retain}
    assumed = {"effect": "allow", "max_qos": 2, "retain": True}
    return {name: value for name, value in given.items() if assumed.get(name) != value}


def _key(claim: Claim) -> tuple[Any, ...]:
    return tuple(sorted(claim.items()))


def _put(rules: dict[tuple[Any, ...], Claim], claim: Claim) -> None:
    rules.setdefault(_key(claim), claim)
