"""The filters that somebody is subscribed to, as a tree of topic levels, a page of one level at a time.

Children are found by as many look-ups in the index as are shown, however many filters lie below each; counts
end at MAX_COUNTED. Within one level they come in the order of the index, not quite the alphabet's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db.models import QuerySet

from apps.cluster import permissions
from apps.cluster.directory.fields import starts_with
from apps.cluster.models import SubscriptionInfo
from apps.common.actors import Actor

PAGE: Final = 50
MAX_COUNTED: Final = 1000
_BEHIND: Final = "0"  # the character behind "/"


@dataclass(frozen=True)
class Branch:
    level: str  # this level alone
    filter: str  # all levels down to it
    subscribers: int  # of exactly this filter; at most MAX_COUNTED + 1
    below: int  # subscriptions to longer ones; at most MAX_COUNTED + 1


def children(actor: Actor, under: str | None, after: str = "") -> tuple[list[Branch], str]:
    """What lies directly below the filter `under` (None: the roots): a page, and where the next begins or "".

    Raises PermissionDenied: it is for those who may see all subscriptions.
    """
    actor.require(permissions.VIEW_SUBSCRIPTION)
    prefix = "" if under is None else f"{under}/"
    if "\0" in prefix + after:  # is in no filter, and PostgreSQL takes none to compare with
        return [], ""
    all_rows = SubscriptionInfo.objects.order_by()
    rows = all_rows.filter(starts_with("filter", prefix)) if prefix else all_rows
    found: list[Branch] = []
    rest = rows.filter(filter__gte=max(after, prefix))
    while True:
        filter = rest.order_by("filter").values_list("filter", flat=True).first()
        if filter is None:
            return found, ""
        level, slash, _ = filter[len(prefix) :].partition("/")
        path = prefix + level
        # What begins with "a-" stands between "a" and "a/b" in the index: "a" was met as a filter of its own.
        again = bool(slash) and all_rows.filter(filter=path).exists()
        if not again:
            if len(found) == PAGE:
                return found, filter
            below = all_rows.filter(starts_with("filter", f"{path}/"))
            found.append(Branch(level, path, _count(all_rows.filter(filter=path)), _count(below)))
        rest = rows.filter(filter__gte=f"{path}{_BEHIND}") if slash else rows.filter(filter__gt=path)


def _count(rows: QuerySet[SubscriptionInfo]) -> int:
    return rows[: MAX_COUNTED + 1].count()
