"""Role-based access control: the permissions, endpoints and built-in roles that the apps declare.

A permission is a Django permission. Operators get theirs as Django users and groups do, service accounts get
theirs from roles, and both mean the same by it. Each app declares its own in its module `permissions`, which
its AppConfig imports before any model; `apps.common.actors` and `apps.common.api.permissions` read them
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

# What takes no permission: the caller proves itself in the request, or there is nothing to protect.
OPEN: Final = ""

PERMISSIONS: Final[set[str]] = set()

# Permissions to read what messages say: fewer people have them than see what is going on.
CONTENTS: Final[set[str]] = set()

# Route name -> method -> permission. A route or method that is not here is refused.
ENDPOINTS: Final[dict[str, dict[str, str]]] = {}

# What an operator may do who holds an object permission on a client group (django-guardian), with the clients
# of that group and the group itself: permission -> object permissions, any of which gives it.
IN_A_GROUP: Final[dict[str, tuple[str, ...]]] = {}

# The built-in roles but "viewer" and "admin", which follow from the permissions.
_ROLES: Final[dict[str, frozenset[str]]] = {}

# Object permissions on a client group.
GROUP_VIEW: Final = ("view_members", "manage_members")
GROUP_MANAGE: Final = ("manage_members",)
GROUP_RULES: Final = ("manage_rules",)


def names(app: str, model: str, verbs: str = "view add change delete") -> tuple[str, ...]:
    """Django's names of a model's permissions, in the order of `verbs`."""
    return tuple(f"{app}.{verb}_{model}" for verb in verbs.split())


def declare(
    permissions: Iterable[str],
    endpoints: Mapping[str, dict[str, str]],
    in_a_group: Mapping[str, tuple[str, ...]] | None = None,
    contents: Iterable[str] = (),
    roles: Mapping[str, frozenset[str]] | None = None,
) -> None:
    """Add an app's permissions and routes. Raises ValueError when another app has declared a route."""
    if twice := ENDPOINTS.keys() & endpoints.keys():
        raise ValueError(f"declared twice: {', '.join(sorted(twice))}")
    PERMISSIONS.update(permissions)
    CONTENTS.update(contents)
    ENDPOINTS.update(endpoints)
    IN_A_GROUP.update(in_a_group or {})
    _ROLES.update(roles or {})


def builtin_roles() -> dict[str, frozenset[str]]:
    """Name -> permissions. `migrate` writes them into the database; there are custom ones beside them."""
    views = {each for each in PERMISSIONS if each.partition(".")[2].startswith("view_")}
    return {**_ROLES, "viewer": frozenset(views - CONTENTS), "admin": frozenset(PERMISSIONS)}
