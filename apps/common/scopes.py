"""How far the right of an operator reaches who has it by client groups: to which topics, and how strongly.

Who has a permission everywhere (a model permission, a superuser, a service account) has no bounds. Who has it
by groups gives only what lies below the prefixes of their namespaces. A group without a namespace gives
nothing that its clients may not do already: rules that deny, and rules that allow what another one allows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from apps.common.actors import Actor

# Of rules that operators make by their rights on groups. Rules of everyone, which have 0 where nobody said
# otherwise, are so asked before what a tenant allows; what a tenant denies its own clients comes before them.
HIGHEST_ALLOW: Final = -1
HIGHEST_DENY: Final = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """`prefixes` empty: only what is allowed anyway."""

    prefixes: tuple[str, ...]

    def covers(self, filter: str) -> bool:
        """Is every topic of the filter inside? A placeholder stands for one level and is inside as text."""
        wanted = filter.split("/")
        levels = (prefix.split("/") for prefix in self.prefixes)
        return any(wanted[: len(prefix)] == prefix for prefix in levels)

    def inside(self, filter: str) -> list[str]:
        """The filter, cut to what is inside: a filter for each prefix in which there is something of it."""
        if self.covers(filter):
            return [filter]
        found = (_cut(tuple(filter.split("/")), tuple(prefix.split("/"))) for prefix in self.prefixes)
        return ["/".join(levels) for levels in found if levels]


def scope(actor: Actor, permission: str, group_ids: Iterable[int]) -> Scope | None:
    """Of the actor's permission on what is in these groups. None: no bounds."""
    if actor.may(permission):
        return None
    groups = actor.groups(permission).filter(pk__in=list(group_ids))
    return Scope(tuple(sorted({prefix for each in groups for prefix in each.namespace})))


def scope_of_client(actor: Actor, permission: str, client_id: str) -> Scope | None:
    """As `scope`, by the groups of the client."""
    if actor.may(permission):
        return None
    groups = actor.groups(permission).filter(clients__client_id=client_id)
    return scope(actor, permission, groups.values_list("pk", flat=True))


def _cut(filter: tuple[str, ...], prefix: tuple[str, ...]) -> tuple[str, ...] | None:
    """The part of the filter below the prefix; None: there is none."""
    if filter[0][:1] == "$":
        return None
    for index, level in enumerate(prefix):
        if index == len(filter):
            return None
        if filter[index] == "#":
            return (*prefix, "#")
        if filter[index] not in ("+", level):
            return None
    return (*prefix, *filter[len(prefix) :])
