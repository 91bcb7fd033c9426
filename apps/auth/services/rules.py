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
from apps.common import scopes
from apps.common.actors import Actor
from apps.gateway.mqtt import topics

FIELDS = ("effect", "action", "filter", "client", "group", "priority", "max_qos", "retain", "note")
MAX_RULES = (
    1000  # of one client, of one group and for everybody: each new topic of a client is held against them
)


def create(actor: Actor, **values: Any) -> AclRule:
    """`values` by FIELDS. ValidationError, PermissionDenied."""
    with writing(actor):
        rule = AclRule(**values)
        if "priority" not in values:
            rule.priority = _usual_priority(actor, permissions.ADD_RULE, rule)
        _require(actor, permissions.ADD_RULE, rule)
        _require_scope(actor, permissions.ADD_RULE, rule)
        _require_room(rule)
        _save(rule)
        announce.changed("rules", concerned([rule]))
    return rule


def update(actor: Actor, rule: AclRule, **changes: Any) -> AclRule:
    """`changes` by FIELDS. ValidationError, PermissionDenied, Gone."""
    with writing(actor):
        rule = locked(rule)
        before = AclRule(client=rule.client, group=rule.group)
        _require(actor, permissions.CHANGE_RULE, before)
        _require_scope(actor, permissions.CHANGE_RULE, rule, goes=True)
        for name, value in changes.items():
            setattr(rule, name, value)
        _require(actor, permissions.CHANGE_RULE, rule)
        _require_scope(actor, permissions.CHANGE_RULE, rule)
        if (rule.client, rule.group) != (before.client, before.group):
            _require_room(rule)
        _save(rule)
        announce.changed("rules", concerned([before, rule]))
    return rule


def remove(actor: Actor, rules: Iterable[AclRule]) -> int:
    """PermissionDenied, Gone."""
    with writing(actor):
        found = [locked(rule) for rule in rules]
        for rule in found:
            _require(actor, permissions.DELETE_RULE, rule)
            _require_scope(actor, permissions.DELETE_RULE, rule, goes=True)
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


def _scope(actor: Actor, permission: str, rule: AclRule) -> scopes.Scope | None:
    if rule.client is not None:
        return scopes.scope(actor, permission, group_ids(rule.client))
    return scopes.scope(actor, permission, {rule.group.pk} if rule.group is not None else ())


def _usual_priority(actor: Actor, permission: str, rule: AclRule) -> int:
    """Of a rule for which none was said."""
    bounded = rule.effect == AclRule.Effect.ALLOW and _scope(actor, permission, rule) is not None
    return scopes.HIGHEST_ALLOW if bounded else 0


def _require_scope(actor: Actor, permission: str, rule: AclRule, goes: bool = False) -> None:
    """An operator of some groups makes rules inside their namespaces, and below a priority.

    `goes`: the rule is there and goes, or becomes another; only one that he could have made is his to change.
    """
    scope = _scope(actor, permission, rule)
    if scope is None:
        return
    allows = rule.effect == AclRule.Effect.ALLOW
    highest = scopes.HIGHEST_ALLOW if allows else scopes.HIGHEST_DENY
    if rule.priority > highest:
        if goes and not allows:
            raise PermissionDenied(f"A rule with a priority above {highest} is not yours to change.")
        if not goes:
            message = f"At most {highest} for a rule that {'allows' if allows else 'denies'}, by your rights."
            raise invalid("priority", message, "above_ceiling")
    if not scope.prefixes:
        if goes and not allows:
            raise PermissionDenied("The group has no namespace: what is denied to its clients stays denied.")
        if not goes and allows and not _allowed_already(rule):
            message = "The group has no namespace: only what its clients may do already can be allowed."
            raise invalid("filter", message, "outside_namespace")
        return
    if not scope.covers(rule.filter):
        if goes and not allows:
            raise PermissionDenied("A rule outside the namespaces of your groups is not yours to change.")
        if not goes and allows:
            prefixes = ", ".join(scope.prefixes)
            raise invalid("filter", f"Only below {prefixes}, by your rights.", "outside_namespace")


def _allowed_already(rule: AclRule) -> bool:
    """Does one other rule allow whoever this is for all that it would?"""
    others = Q(client=None, group=None)
    if rule.client is not None:
        others |= Q(client=rule.client) | Q(group__in=rule.client.groups.all())
    elif rule.group is not None:
        others |= Q(group=rule.group)
    rows = AclRule.objects.filter(others, effect=AclRule.Effect.ALLOW, max_qos__gte=rule.max_qos)
    return any(
        each.action in (rule.action, AclRule.Action.BOTH)
        and (each.retain or not rule.retain)
        and acl.covers(acl.split(each.filter), acl.split(rule.filter))
        for each in rows.exclude(pk=rule.pk)
    )


def _require_room(rule: AclRule) -> None:
    if AclRule.objects.filter(client=rule.client, group=rule.group).count() >= MAX_RULES:
        message = (
            f"There are {MAX_RULES} rules for it already; use wider filters, placeholders or more groups."
        )
        raise invalid("filter", message, "too_many_rules")


def _save(rule: AclRule) -> None:
    rule.clean_fields()
    if rule.client is not None and rule.group is not None:
        raise invalid("group", "A rule is for a client, or a group, or (neither) everyone.", "two_subjects")
    if rule.effect == AclRule.Effect.DENY and (rule.max_qos != 2 or not rule.retain):
        raise invalid("effect", "Only allow rules have limits of QoS and retain.", "deny_has_no_limits")
    if rule.max_qos > 2:
        raise invalid("max_qos", "0, 1 or 2.", "out_of_range")
    rule.save()
