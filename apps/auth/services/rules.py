"""Make, change and remove access rules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q

from apps.auth import acl, announce, permissions
from apps.auth.models import AclRule
from apps.auth.services.credentials import group_ids
from apps.auth.services.groups import members
from apps.auth.services.writing import invalid, locked, writing
from apps.common.actors import Actor
from apps.gateway.mqtt import topics

FIELDS = ("effect", "action", "filter", "client", "group", "priority", "max_qos", "retain", "note")


def create(actor: Actor, **values: Any) -> AclRule:
    """`values` by FIELDS. ValidationError, PermissionDenied."""
    with writing(actor):
        rule = AclRule(**values)
        _require(actor, permissions.ADD_RULE, rule)
        _save(rule)
        announce.changed("rules", concerned([rule]))
    return rule


def update(actor: Actor, rule: AclRule, **changes: Any) -> AclRule:
    """`changes` by FIELDS. ValidationError, PermissionDenied, Gone."""
    with writing(actor):
        rule = locked(rule)
        before = AclRule(client=rule.client, group=rule.group)
        _require(actor, permissions.CHANGE_RULE, before)
        for name, value in changes.items():
            setattr(rule, name, value)
        _require(actor, permissions.CHANGE_RULE, rule)
        _save(rule)
        announce.changed("rules", concerned([before, rule]))
    return rule


def remove(actor: Actor, rules: Iterable[AclRule]) -> int:
    """PermissionDenied, Gone."""
    with writing(actor):
        found = [locked(rule) for rule in rules]
        for rule in found:
            _require(actor, permissions.DELETE_RULE, rule)
            rule.delete()
        announce.changed("rules", concerned(found))
    return len(found)


def concerned(rules: Iterable[AclRule]) -> set[str] | None:
    """Client ids whose rights the rules touch; None: everyone's, or too many to name."""
    found: set[str] = set()
    for rule in rules:
        if rule.client is not None:
            found.add(rule.client.client_id)
            continue
        named = members(rule.group) if rule.group is not None else None
        if named is None:
            return None
        found.update(named)
    return found


def warnings(rule: AclRule) -> list[str]:
    """Why the saved rule can never match, as far as the rules asked before it and the protocol tell."""
    if rule.filter.startswith("$share/"):
        return ["Rules are asked without the $share/group/ of a shared subscription, so this never matches."]
    if rule.action == AclRule.Action.PUBLISH and topics.is_system(rule.filter):
        return ["Clients cannot publish under $SYS/, so this never matches."]
    for other in _asked_before(rule):
        if _shadows(other, rule):
            return [f"Rule {other.pk} ({other}) is asked before and matches all that this one does."]
    return []


def _asked_before(rule: AclRule) -> list[AclRule]:
    """The rules that whoever `rule` is for meets first."""
    subject = Q(client=None, group=None)
    if rule.client is not None:
        subject |= Q(client=rule.client) | Q(group__in=rule.client.groups.all())
    elif rule.group is not None:
        subject |= Q(group=rule.group)
    others = AclRule.objects.filter(subject, priority__gte=rule.priority).exclude(pk=rule.pk)
    return [other for other in others if _rank(other) < _rank(rule)]


def _rank(rule: AclRule) -> tuple[int, int, bool, int]:
    """As AclRule says; `selectors.in_order` is the same for facts."""
    scope = 0 if rule.client_id is not None else 1 if rule.group_id is not None else 2
    return -rule.priority, scope, rule.effect == AclRule.Effect.ALLOW, rule.pk


def _shadows(other: AclRule, rule: AclRule) -> bool:
    if other.action not in (rule.action, AclRule.Action.BOTH):
        return False
    if rule.effect == AclRule.Effect.DENY != other.effect and rule.action != AclRule.Action.PUBLISH:
        return False  # a wide subscription passes the narrower allow and meets the deny
    return acl.covers(acl.split(other.filter), acl.split(rule.filter))


def _require(actor: Actor, permission: str, rule: AclRule) -> None:
    if actor.may(permission):
        return
    if rule.client is not None:
        actor.require(permission, group_ids(rule.client))
    elif rule.group is not None:
        actor.require(permission, {rule.group.pk})
    else:
        raise PermissionDenied("You may change the rules of the groups that you manage only.")


def _save(rule: AclRule) -> None:
    rule.clean_fields()
    if rule.client is not None and rule.group is not None:
        raise invalid("group", "A rule is for a client, or a group, or (neither) everyone.", "two_subjects")
    if rule.effect == AclRule.Effect.DENY and (rule.max_qos != 2 or not rule.retain):
        raise invalid("effect", "Only allow rules have limits of QoS and retain.", "deny_has_no_limits")
    if rule.max_qos > 2:
        raise invalid("max_qos", "0, 1 or 2.", "out_of_range")
    rule.save()
