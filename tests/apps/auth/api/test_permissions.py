"""The table: endpoint x method x caller -> status. And that no address of the API is missing from it.

The callers: nobody; a service account of each built-in role; alice, the superuser; bob, who manages the
clients of one group, to which the client of these tests belongs; charlie, who may do nothing.
Each request is well formed, so a 403 comes from the permission and from nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import transaction
from django.urls import get_resolver
from rest_framework.test import APIClient

from apps.auth import decisions, permissions
from apps.auth.models import ClientGroup, Role
from apps.auth.providers.base import Identity
from apps.auth.providers.decision import ClientAcl
from apps.common import rbac
from tests.apps.auth.api.conftest import Caller, operator
from tests.apps.auth.api.table import CALLERS, TABLE, routes
from tests.apps.auth.factories import (
    AccountFactory,
    BanFactory,
    ClientFactory,
    CredentialFactory,
    RuleFactory,
)

pytestmark = pytest.mark.django_db

V1 = "/api/v1/"


Body = Callable[["Rows"], Any]


class Rows:
    """What the requests are about. `pk` by the first word of the path."""

    def __init__(self, pumps: ClientGroup) -> None:
        client = ClientFactory(client_id="pump-1", groups=[pumps])
        credential = CredentialFactory(client=client)
        account = AccountFactory(name="target")
        self.account = account
        self.client = client
        self.pk = {
            "clients": client.pk,
            "credentials": credential.pk,
            "groups": pumps.pk,
            "acl": RuleFactory(client=client).pk,
            "bans": BanFactory().pk,
            "service-accounts": account.pk,
            "roles": Role.objects.create(name="custom", permissions=[permissions.VIEW_CLIENT]).pk,
        }

    def url(self, path: str) -> str:
        found = path.replace("<int:pk>", str(self.pk.get(path.partition("/")[0], "")))
        return ("/api/" if path in ("schema/", "docs/") else V1) + found


BODIES: dict[tuple[str, str], Body] = {
    ("clients/", "POST"): lambda rows: {"client_id": "new", "groups": ["pumps"]},
    ("clients/bulk/", "POST"): lambda rows: {"clients": [{"client_id": "new", "groups": ["pumps"]}]},
    ("clients/<int:pk>/", "PATCH"): lambda rows: {"owner": "me"},
    ("credentials/", "POST"): lambda rows: {"client": rows.client.pk, "username": "second"},
    ("groups/", "POST"): lambda rows: {"name": "new"},
    ("groups/<int:pk>/", "PATCH"): lambda rows: {"description": "new"},
    ("acl/rules/", "POST"): lambda rows: {
        "effect": "allow",
        "action": "both",
        "filter": "a/#",
        "client": rows.client.pk,
    },
    ("acl/rules/<int:pk>/", "PATCH"): lambda rows: {"priority": 3},
    ("acl/explain", "POST"): lambda rows: {"client_id": "pump-1", "action": "publish", "topic": "a"},
    ("bans/", "POST"): lambda rows: {"kind": "username", "value": "mallory"},
    ("bans/<int:pk>/", "PATCH"): lambda rows: {"reason": "new"},
    ("service-accounts/", "POST"): lambda rows: {"name": "new", "roles": ["viewer"]},
    ("service-accounts/<int:pk>/", "PATCH"): lambda rows: {"description": "new"},
    ("roles/", "POST"): lambda rows: {"name": "new", "permissions": [permissions.VIEW_BAN]},
    ("roles/<int:pk>/", "PATCH"): lambda rows: {"description": "new"},
    ("auth/token", "POST"): lambda rows: {
        "access_key": rows.account.access_key,
        "secret": "gmq_" + "x" * 43,
    },
    ("auth/connect", "POST"): lambda rows: {"client_id": "pump-1"},
    ("auth/publish", "POST"): lambda rows: {"client_id": "pump-1", "topic": "a"},
    ("auth/subscribe", "POST"): lambda rows: {"client_id": "pump-1", "filter": "a"},
}


@pytest.fixture
def caller(service: Caller, alice: User, bob: User, charlie: User) -> Callable[[str], APIClient]:
    operators = {"alice": alice, "bob": bob, "charlie": charlie}

    def make(name: str) -> APIClient:
        if name == "nobody":
            return APIClient()
        return operator(operators[name]) if name in operators else service(name)

    return make


@pytest.fixture(autouse=True)
def no_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided has tests of its own, with real transactions; who may ask is decided before."""

    async def connect(request: object) -> None:
        return None

    async def acl(identity: Identity) -> ClientAcl:
        return ClientAcl(identity, (), "pass")

    monkeypatch.setattr(decisions, "connect", connect)
    monkeypatch.setattr(decisions, "acl", acl)


@pytest.mark.parametrize(("path", "method"), TABLE)
def test_the_table(
    path: str, method: str, roles: None, caller: Callable[[str], APIClient], pumps: ClientGroup
) -> None:
    rows = Rows(pumps)
    body = BODIES.get((path, method), lambda rows: None)(rows)
    answers = []
    for name in CALLERS:
        client = caller(name)
        with transaction.atomic():  # each caller finds the rows as they were
            response = getattr(client, method.lower())(rows.url(path), body, format="json" if body else None)
            answers.append(response.status_code)
            transaction.set_rollback(True)
    assert tuple(answers) == TABLE[path, method], dict(zip(CALLERS, answers, strict=True))


def spoken(path: str) -> str:
    """As the table writes it: "/api/v1/" and the marks of a regular expression taken off."""
    return path.removeprefix("api/").replace("^", "").replace("/?$", "").removeprefix("v1/")


def test_no_address_is_missing() -> None:
    in_api = {
        spoken(path): pattern
        for path, pattern in routes(get_resolver().url_patterns)
        if path.startswith("api/") and pattern.name != "no-route"
        if not str(pattern.name).startswith("cluster-")  # tests/apps/cluster/api has those
    }
    assert in_api, "the API is not mounted"
    served = {
        (path, method.upper())
        for path, pattern in in_api.items()
        for method in ("get", "post", "put", "patch", "delete")
        if method in pattern.callback.view_class.http_method_names
        and hasattr(pattern.callback.view_class, method)
    }
    assert served == set(TABLE)
    names = {str(pattern.name) for pattern in in_api.values()}
    endpoints = {name for name in rbac.ENDPOINTS if not name.startswith("cluster-")}
    assert names == endpoints
    allowed = {(str(in_api[path].name), method) for path, method in TABLE}
    assert allowed == {(name, method) for name in endpoints for method in rbac.ENDPOINTS[name]}


def test_every_permission_is_one_of_djangos(db: None) -> None:
    known = {
        f"{permission.content_type.app_label}.{permission.codename}"
        for permission in Permission.objects.select_related("content_type")
    }
    assert known >= rbac.PERMISSIONS
    used = {p for methods in rbac.ENDPOINTS.values() for p in methods.values()} | set(
        permissions.RPC_METHODS.values()
    )
    assert used - {rbac.OPEN} <= rbac.PERMISSIONS
    assert set(rbac.IN_A_GROUP) <= rbac.PERMISSIONS


def test_methods_that_are_not_there(api: APIClient) -> None:
    for method, path in (("put", "clients/"), ("options", "clients/"), ("get", "clients/bulk/")):
        response = getattr(api, method)(V1 + path)
        assert (response.status_code, response.json()["code"]) == (405, "method_not_allowed")


def test_addresses_that_are_not_there(api: APIClient) -> None:
    for path in ("/api/", "/api/v1/", "/api/v2/clients/", "/api/v1/clients/x/", "/api/v1/nothing"):
        for method in ("get", "post"):
            response = getattr(api, method)(path)
            assert (response.status_code, response.json()["code"]) == (404, "not_found"), path
            assert response["Content-Type"] == "application/problem+json"
