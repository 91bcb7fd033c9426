"""Access rules compiled for one client: what it may publish and subscribe. Pure, no Django.

The first rule that matches decides. A rule matches a topic as a filter does. It matches a subscription when
it allows and its filter covers the wanted one (every topic of the wanted filter is one of the rule's), or
when it denies and the two overlap (some topic is in both): nobody reads a denied topic by a wide filter.

Placeholders stand for text, never for structure: a rule whose value is empty or has `/ + #` in it, or would
begin the filter with `$`, matches nothing for that client, so a client named "+" gains nothing by its name.
(A denying rule keeps a value with `/`, for a ban should not be escaped by a name either.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from apps.auth.facts import RuleFacts
from apps.gateway.broker.ports import DENIED, NOTHING, QOS_0, QOS_1, QOS_2, RETAIN

EACH: Final = 3  # units of `ports.Acl.cost` that a rule takes
PASS: Final = -3  # no rule matches; the next list of rules is asked

_UP_TO_QOS = (QOS_0, QOS_0 | QOS_1, QOS_0 | QOS_1 | QOS_2)
_PLACEHOLDER = re.compile(r"(\$\{(?:clientid|username|cert\.cn|group)\})")

Levels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who asks. The values of the placeholders; "" where there is none."""

    client_id: str
    username: str = ""
    cert_cn: str = ""
    groups: tuple[str, ...] = ()
    owns_username: bool = True  # False: another client has the name by an older right; it allows nothing here


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why an `Acl` would answer so. `answer` is as that of `Rules.publish` or `Rules.subscribe`."""

    answer: int
    rule: RuleFacts | None  # that decided; None: none matched
    passed: tuple[tuple[RuleFacts, str], ...]  # the rules asked before it, each with why it did not match


class _Entry(NamedTuple):
    levels: Levels
    allow: bool
    publish: int  # what an allow rule grants: sum of bits
    max_qos: int
    rule: RuleFacts


class Rules:
    """The rules of one client, in the order in which they are asked."""

    __slots__ = ("_publish", "_subscribe", "rules", "subject")

    def __init__(self, rules: Sequence[RuleFacts], subject: Subject) -> None:
        self.rules = rules
        self.subject = subject
        publish: list[_Entry] = []
        subscribe: list[_Entry] = []
        for rule in rules:
            allow = rule.effect == "allow"
            grant = _UP_TO_QOS[rule.max_qos] | (RETAIN if rule.retain else 0)
            for levels in _filters(rule, subject):
                entry = _Entry(levels, allow, grant if allow else NOTHING, rule.max_qos, rule)
                if rule.action != "subscribe":
                    publish.append(entry)
                if rule.action != "publish":
                    subscribe.append(entry)
        self._publish = publish
        self._subscribe = subscribe

    @property
    def cost(self) -> int:
        """Of an answer at most, as `ports.Acl.cost`: each rule may have to be looked at."""
        return max(len(self._publish), len(self._subscribe)) * EACH

    def publish(self, topic: str) -> int:
        """Sum of QOS_0, QOS_1, QOS_2 and RETAIN; NOTHING; or PASS."""
        levels = topic.split("/")
        for entry in self._publish:
            if matches(entry.levels, levels):
                return entry.publish
        return PASS

    def subscribe(self, filter: str, qos: int) -> int:
        """The QoS granted, at most `qos`; DENIED; or PASS."""
        wanted = split(filter)
        for entry in self._subscribe:
            if entry.allow:
                if covers(entry.levels, wanted):
                    return min(qos, entry.max_qos)
            elif overlap(entry.levels, wanted):
                return DENIED
        return PASS

    def explain(self, action: str, topic: str, qos: int = 0) -> Explanation:
        """The same decision with its reasons. `action` is publish or subscribe, `topic` a name or filter."""
        passed: list[tuple[RuleFacts, str]] = []
        for rule in self.rules:
            if rule.action not in (action, "both"):
                passed.append((rule, f"is about {rule.action} only"))
                continue
            alone = Rules((rule,), self.subject)
            answer = alone.publish(topic) if action == "publish" else alone.subscribe(topic, qos)
            if answer != PASS:
                return Explanation(answer, rule, tuple(passed))
            passed.append((rule, self._why_not(rule, action)))
        return Explanation(PASS, None, tuple(passed))

    def _why_not(self, rule: RuleFacts, action: str) -> str:
        filters = _filters(rule, self.subject)
        if not filters:
            return "a placeholder has no value that may stand in a topic"
        shown = " or ".join("/".join(levels) for levels in filters)
        if action == "publish":
            return f"{shown} does not match the topic"
        return f"{shown} does not {'cover' if rule.effect == 'allow' else 'overlap with'} the filter"


# ---------------------------------------------------------------- filters against filters


def split(filter: str) -> Levels:
    """The levels of a filter. "+/#" is "#": the same topics, and one form less to compare."""
    return tuple(filter.split("/")) if filter != "+/#" else ("#",)


def matches(wanted: Levels, levels: Sequence[str]) -> bool:
    """Does the filter with the levels `wanted` match the topic with `levels`? As `topics.matches`."""
    first = wanted[0]
    if first != levels[0] and ((first != "+" and first != "#") or levels[0][:1] == "$"):  # [MQTT-4.7.2-1]
        return False
    depth = len(levels)
    for index, want in enumerate(wanted):
        if want == "#":
            return True
        if index == depth or (want != "+" and want != levels[index]):
            return False
    return len(wanted) == depth


def covers(rule: Levels, wanted: Levels) -> bool:
    """Is every topic that `wanted` matches also matched by `rule`? Both as `split` gives them."""
    if wanted[0][:1] == "$" and (rule[0] == "+" or rule[0] == "#"):  # [MQTT-4.7.2-1]
        return False
    depth = len(wanted)
    for index, level in enumerate(rule):
        if level == "#":
            return True
        if index == depth:
            return False
        want = wanted[index]
        if want == "#" or (level != "+" and level != want):
            return False
    return len(rule) == depth


def overlap(one: Levels, other: Levels) -> bool:
    """Is there a topic that both match? Both as `split` gives them."""
    for a, b in ((one[0], other[0]), (other[0], one[0])):
        if a[:1] == "$" and (b == "+" or b == "#"):  # [MQTT-4.7.2-1]
            return False
    for a, b in zip(one, other, strict=False):
        if a == "#" or b == "#":
            return True
        if a != b and a != "+" and b != "+":
            return False
    if len(one) == len(other):
        return True
    longer = one if len(one) > len(other) else other
    return len(longer) == min(len(one), len(other)) + 1 and longer[-1] == "#"  # "a/#" matches "a"


# ---------------------------------------------------------------- placeholders


@lru_cache(maxsize=65_536)
def _template(filter: str) -> tuple[Levels, tuple[str, ...]]:
    """(levels, ()) of a filter without placeholders; else ((), parts), every second part a placeholder.

    Most rules are shared by many clients, so is what is parsed of them.
    """
    parts = _PLACEHOLDER.split(filter)
    return (split(filter), ()) if len(parts) == 1 else ((), tuple(parts))


def obstacle(value: str) -> str:
    """Why a value may not stand in the filter of a rule that allows something; "": it may."""
    found = [f'"{each}"' for each in "/+#" if each in value]
    return f"has {' and '.join(found)} in it" if found else ""


def filled(rule: RuleFacts, subject: Subject) -> tuple[str, ...]:
    """The rule's filter as text, once for each meaning that it has for the subject; () where it has none."""
    return tuple("/".join(levels) for levels in _filters(rule, subject))


def _filters(rule: RuleFacts, subject: Subject) -> tuple[Levels, ...]:
    """The rule's filter for this client: one, none, or with `${group}` one for each group."""
    levels, parts = _template(rule.filter)
    if not parts:
        return (levels,)
    if "${group}" not in parts:
        return _filled(parts, rule, subject, "")
    groups: Iterable[str] = (rule.group,) if rule.scope == "group" else subject.groups
    return tuple(filled for group in groups for filled in _filled(parts, rule, subject, group))


def _filled(parts: tuple[str, ...], rule: RuleFacts, subject: Subject, group: str) -> tuple[Levels, ...]:
    values = {
        "${clientid}": subject.client_id,
        "${username}": subject.username,
        "${cert.cn}": subject.cert_cn,
        "${group}": group,
    }
    filled = list(parts)
    for index in range(1, len(parts), 2):
        value = values[parts[index]]
        if parts[index] == "${username}" and rule.effect == "allow" and not subject.owns_username:
            return ()
        if not value or "+" in value or "#" in value or ("/" in value and rule.effect == "allow"):
            return ()
        filled[index] = value
    if not parts[0] and filled[1][0] == "$":
        return ()
    return (split("".join(filled)),)
