"""Service accounts and roles: nobody hands out more than he has."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from apps.auth import permissions, proofs
from apps.auth.models import Role, ServiceAccount
from apps.common import rbac
from tests.apps.auth.api.conftest import Caller, operator
from tests.apps.auth.factories import AccountFactory, UserFactory

pytestmark = pytest.mark.django_db
ACCOUNTS = "/api/v1/service-accounts/"
ROLES = "/api/v1/roles/"


@pytest.fixture
def dora(db: None) -> User:
    """May do everything with accounts and roles, see clients, and nothing else."""
    user = UserFactory(username="dora")
    names = (
        "add_serviceaccount",
        "change_serviceaccount",
        "delete_serviceaccount",
        "add_role",
        "change_role",
    )
    wanted = (*names, "view_client", "view_serviceaccount", "view_role")
    user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    return user


def test_an_account_from_birth_to_end(api: APIClient, roles: None) -> None:
    made = api.post(ACCOUNTS, {"name": "billing", "roles": ["viewer", "registrar"]}, format="json")
    assert made.status_code == 201
    account = made.json()
    assert account["roles"] == ["registrar", "viewer"]
    actor = proofs.by_secret(account["access_key"], account["secret"])
    assert actor.permissions == rbac.builtin_roles()["viewer"] | rbac.builtin_roles()["registrar"]
    shown = api.get(f"{ACCOUNTS}{account['id']}/").json()
    assert "secret" not in shown
    changed = api.patch(f"{ACCOUNTS}{account['id']}/", {"roles": [], "enabled": False}, format="json").json()
    assert (changed["roles"], changed["enabled"]) == ([], False)
    assert api.delete(f"{ACCOUNTS}{account['id']}/").status_code == 204
    assert not ServiceAccount.objects.exists()


def test_a_name_is_taken_once(api: APIClient) -> None:
    known = AccountFactory(name="billing")
    response = api.post(ACCOUNTS, {"name": "billing"}, format="json")
    assert (response.status_code, response.json()["existing_id"]) == (409, known.pk)


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "name", "required"),
        ({"name": ""}, "name", "blank"),
        ({"name": "a", "roles": ["none"]}, "roles", "unknown_role"),
        ({"name": "a", "expires_at": "2000-01-01T00:00:00Z"}, "expires_at", "in_the_past"),
        ({"name": "a", "access_key": "mine"}, "access_key", "unknown_field"),
    ],
)
def test_a_bad_account(api: APIClient, body: dict[str, object], field: str, code: str) -> None:
    response = api.post(ACCOUNTS, body, format="json")
    assert response.status_code == 400
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]


def test_nobody_makes_an_account_mightier_than_himself(dora: User, roles: None) -> None:
    as_dora = operator(dora)
    assert as_dora.post(ACCOUNTS, {"name": "a", "roles": ["admin"]}, format="json").status_code == 403
    assert as_dora.post(ACCOUNTS, {"name": "a", "roles": ["viewer"]}, format="json").status_code == 403
    mighty = AccountFactory(roles=["admin"])
    assert as_dora.post(f"{ACCOUNTS}{mighty.pk}/rotate/").status_code == 403
    assert as_dora.patch(f"{ACCOUNTS}{mighty.pk}/", {"name": "mine"}, format="json").status_code == 403
    assert as_dora.delete(f"{ACCOUNTS}{mighty.pk}/").status_code == 403
    Role.objects.create(name="lists", permissions=[permissions.VIEW_CLIENT])
    made = as_dora.post(ACCOUNTS, {"name": "a", "roles": ["lists"]}, format="json")
    assert made.status_code == 201
    raised = as_dora.patch(f"{ACCOUNTS}{made.json()['id']}/", {"roles": ["admin"]}, format="json")
    assert raised.status_code == 403
    assert ServiceAccount.objects.get(name="a").roles.get().name == "lists"


def test_nobody_makes_a_role_mightier_than_himself(dora: User) -> None:
    as_dora = operator(dora)
    body = {"name": "r", "permissions": [permissions.VIEW_CLIENT, permissions.ADD_BAN]}
    assert as_dora.post(ROLES, body, format="json").status_code == 403
    made = as_dora.post(ROLES, body | {"permissions": [permissions.VIEW_CLIENT]}, format="json")
    assert made.status_code == 201
    body = {"permissions": [permissions.ADD_BAN]}
    assert as_dora.patch(f"{ROLES}{made.json()['id']}/", body, format="json").status_code == 403


def test_built_in_roles_stay(api: APIClient, roles: None) -> None:
    viewer = Role.objects.get(name="viewer")
    for response in (
        api.patch(f"{ROLES}{viewer.pk}/", {"permissions": []}, format="json"),
        api.delete(f"{ROLES}{viewer.pk}/"),
    ):
        assert response.status_code == 400
        assert response.json()["errors"][0]["code"] == "builtin_role"
    assert set(viewer.permissions) == rbac.builtin_roles()["viewer"]


def test_a_custom_role_gives_what_it_names(api: APIClient, service: Caller) -> None:
    body = {"name": "bouncer", "permissions": [permissions.ADD_BAN, permissions.VIEW_BAN]}
    assert api.post(ROLES, body, format="json").status_code == 201
    bouncer = service("bouncer")
    assert bouncer.post("/api/v1/bans/", {"kind": "username", "value": "m"}, format="json").status_code == 201
    assert bouncer.get("/api/v1/bans/").status_code == 200
    assert bouncer.get("/api/v1/clients/").status_code == 403
    unknown = api.post(ROLES, {"name": "x", "permissions": ["auth.add_user"]}, format="json")
    assert unknown.json()["errors"][0]["code"] == "invalid_choice"


def test_a_permission_that_the_platform_no_longer_knows_gives_nothing(service: Caller) -> None:
    Role.objects.create(name="old", permissions=["mqtt_auth.fly", permissions.VIEW_BAN])
    old = service("old")
    assert old.get("/api/v1/bans/").status_code == 200
    assert old.get("/api/v1/clients/").status_code == 403
