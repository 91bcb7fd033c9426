"""Which access rules cannot apply to a client, for what its client id or user name has in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from apps.auth import acl
from apps.auth.acl import Subject
from apps.auth.facts import RuleFacts
from apps.auth.providers.bulk import BATCH_SIZE, facts_of

MOST_SHOWN: Final = 20  # rules in one warning
CODE: Final = "placeholder_not_applicable"
_PLACEHOLDERS: Final = (("${clientid}", "client_id", "client id"), ("${username}", "username", "user name"))


def warnings(names: Iterable[tuple[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """By client id, of (client id, user name): {"code", "field", "detail", "rules"}; none: left out.

    A few queries for hundreds, none where all names may stand in topics.
    """
    odd = {client_id: username for client_id, username in names if _is_odd(client_id) or _is_odd(username)}
    found: dict[str, list[dict[str, Any]]] = {}
    ids = list(odd)
    for start in range(0, len(ids), BATCH_SIZE):
        for client_id, facts in facts_of(ids[start : start + BATCH_SIZE]).items():
            subject = Subject(client_id, odd[client_id], groups=facts.groups)
            found[client_id] = list(_of(subject, facts.rules))
    return found


def _is_odd(name: str) -> bool:
    return acl.obstacle(name) != "" or name.startswith("$")


def _of(subject: Subject, rules: Iterable[RuleFacts]) -> Iterable[dict[str, Any]]:
    rules = tuple(rules)
    for placeholder, field, words in _PLACEHOLDERS:
        value = subject.client_id if field == "client_id" else subject.username
        if not _is_odd(value):
            continue
        lost = [rule for rule in rules if placeholder in rule.filter and not acl.filled(rule, subject)]
        why = acl.obstacle(value) or 'begins with "$"'
        which = f"rules with {placeholder}" if acl.obstacle(value) else f"rules that begin with {placeholder}"
        detail = f"The {words} {why}: {which} that allow something cannot apply to this client."
        if lost:
            shown = ", ".join(f"{each.effect} {each.action} {each.filter}" for each in lost[:MOST_SHOWN])
            detail += f" Now these are: {shown}."
        yield {
            "code": CODE,
            "field": field,
            "detail": detail,
            "rules": [each.id for each in lost[:MOST_SHOWN]],
        }
