"""Service accounts and roles.

Nobody hands out what they have not got: whoever changes an account, or takes its secret by rotating it,
must have every permission that it has.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.utils import timezone

from apps.auth import passwords
from apps.auth import permissions as perms
from apps.auth.models import Role, ServiceAccount
from apps.auth.services.writing import invalid, locked, save, writing
from apps.common import rbac, sealing
from apps.common.actors import Actor

SIGNING = "signing key"  # the purpose under which ServiceAccount.signing_key is sealed


def create(
    actor: Actor, name: str, roles: Collection[Role] = (), **values: Any
) -> tuple[ServiceAccount, str]:
    """`values`: description, enabled, expires_at. The account and its secret, shown this once.

    ValidationError, PermissionDenied, Duplicate.
    """
    with writing(actor):
        actor.require(perms.ADD_ACCOUNT)
        _require_all(actor, roles)
        account = ServiceAccount(name=name, access_key="gak_" + secrets.token_hex(12), **values)
        secret = _new_secret(account)
        _save(account)
        account.roles.set(roles)
    return account, secret


def update(
    actor: Actor, account: ServiceAccount, roles: Collection[Role] | None = None, **changes: Any
) -> ServiceAccount:
    """`changes`: name, description, enabled, expires_at.

    ValidationError, PermissionDenied, Duplicate, Gone.
    """
    with writing(actor):
        actor.require(perms.CHANGE_ACCOUNT)
        account = locked(account)
        _require_all(actor, account.roles.all())
        for field, value in changes.items():
            setattr(account, field, value)
        _save(account)
        if roles is not None:
            _require_all(actor, roles)
            account.roles.set(roles)
    return account


def rotate(actor: Actor, account: ServiceAccount) -> tuple[ServiceAccount, str]:
    """A new secret, shown this once. The old one, and every token issued for it, is worth nothing at once.

    To change over without a gap, make a second account.
    """
    with writing(actor):
        actor.require(perms.CHANGE_ACCOUNT)
        account = locked(account)
        _require_all(actor, account.roles.all())
        secret = _new_secret(account)
        account.generation += 1
        account.rotated_at = timezone.now()
        account.save()
    return account, secret


def rotate_many(actor: Actor, rows: Iterable[ServiceAccount]) -> list[tuple[ServiceAccount, str]]:
    """All or none."""
    with writing(actor):
        return [rotate(actor, row) for row in rows]


def remove(actor: Actor, account: ServiceAccount) -> None:
    with writing(actor):
        actor.require(perms.DELETE_ACCOUNT)
        account = locked(account)
        _require_all(actor, account.roles.all())
        account.delete()


def create_role(actor: Actor, name: str, permissions: Iterable[str], description: str = "") -> Role:
    """ValidationError, PermissionDenied, Duplicate."""
    with writing(actor):
        actor.require(perms.ADD_ROLE)
        role = Role(name=name, description=description)
        return _save_role(actor, role, permissions)


def update_role(actor: Actor, role: Role, permissions: Iterable[str] | None = None, **changes: str) -> Role:
    """`changes`: name, description. ValidationError, PermissionDenied, Duplicate, Gone."""
    with writing(actor):
        actor.require(perms.CHANGE_ROLE)
        role = locked(role)
        _require_custom(role)
        _require_all(actor, [role])
        for field, value in changes.items():
            setattr(role, field, value)
        return _save_role(actor, role, role.permissions if permissions is None else permissions)


def remove_role(actor: Actor, role: Role) -> None:
    with writing(actor):
        actor.require(perms.DELETE_ROLE)
        role = locked(role)
        _require_custom(role)
        role.delete()


def write_builtin_roles(using: str) -> None:
    for name, permissions in rbac.builtin_roles().items():
        Role.objects.using(using).update_or_create(
            name=name, defaults={"builtin": True, "permissions": sorted(permissions)}
        )


def _new_secret(account: ServiceAccount) -> str:
    secret = passwords.generate()
    account.secret = passwords.encode_generated(secret)
    account.signing_key = sealing.seal(SIGNING, secret)
    return secret


def _save(account: ServiceAccount) -> None:
    if account.expires_at is not None and account.expires_at <= timezone.now():
        raise invalid("expires_at", "This is in the past.", "in_the_past")
    save(account, "service account", {"name": account.name})


def _save_role(actor: Actor, role: Role, permissions: Iterable[str]) -> Role:
    role.permissions = sorted(set(permissions))
    if unknown := set(role.permissions) - rbac.PERMISSIONS:
        raise invalid("permissions", f"Unknown: {', '.join(sorted(unknown))}.", "unknown_permission")
    _require_all(actor, [role])
    return save(role, "role", {"name": role.name})


def _require_custom(role: Role) -> None:
    if role.builtin:
        raise invalid("name", "A built-in role stays as it is: make one of your own.", "builtin_role")


def _require_all(actor: Actor, roles: Iterable[Role]) -> None:
    for role in roles:
        if missing := [name for name in role.permissions if not actor.may(name)]:
            raise PermissionDenied(f"{role.name} gives more than you have: {', '.join(missing)}")
