"""Rules for tests, short to write."""

from __future__ import annotations

from itertools import count

from apps.auth.facts import RuleFacts

_ids = count(1)


def allow(
    filter: str, action: str = "both", max_qos: int = 2, retain: bool = True, group: str = ""
) -> RuleFacts:
    return rule("allow", filter, action, max_qos, retain, group)


def deny(filter: str, action: str = "both", group: str = "") -> RuleFacts:
    return rule("deny", filter, action, group=group)


def rule(
    effect: str, filter: str, action: str, max_qos: int = 2, retain: bool = True, group: str = ""
) -> RuleFacts:
    scope = "group" if group else "everyone"
    return RuleFacts(next(_ids), effect, action, filter, max_qos, retain, 0, scope, group)
