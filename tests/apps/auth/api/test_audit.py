"""audit/: who changed what, before and after."""

from __future__ import annotations

import json
from typing import Any

import pytest
from auditlog.models import LogEntry
from rest_framework.test import APIClient

from apps.auth import permissions
from tests.apps.auth.api.conftest import Caller
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"


def trail(api: APIClient, query: str = "") -> list[dict[str, Any]]:
    return api.get(f"{V1}audit/{query}").json()["results"]


def test_before_and_after(api: APIClient, alice: Any) -> None:
    client = ClientFactory(client_id="a", owner="ann", groups=[GroupFactory(name="old")])
    GroupFactory(name="new")
    LogEntry.objects.all().delete()
    api.patch(f"{V1}clients/{client.pk}/", {"owner": "ben", "groups": ["new"]}, format="json")
    entries = trail(api)
    assert {(entry["by"], entry["name"], entry["address"]) for entry in entries} == {
        (f"user:{alice.pk}", "alice", "127.0.0.1")
    }
    assert {(entry["type"], entry["object"], entry["object_id"]) for entry in entries} == {
        ("client", "a", client.pk)
    }
    changes = [entry["changes"] for entry in entries]
    assert {"owner": ["ann", "ben"]} in changes
    assert {"groups": {"type": "m2m", "operation": "add", "objects": ["new"]}} in changes
    assert {"groups": {"type": "m2m", "operation": "delete", "objects": ["old"]}} in changes


def test_a_service_is_named(service: Caller, api: APIClient) -> None:
    service("registrar").post(f"{V1}clients/", {"client_id": "a"}, format="json")
    (entry,) = trail(api, "?type=client")
    assert entry["by"].startswith("service:")
    assert entry["name"].startswith("service-")
    assert (entry["action"], entry["object"], entry["changes"]["client_id"]) == ("create", "a", [None, "a"])


def test_every_kind_of_write_is_there(api: APIClient, roles: None) -> None:
    LogEntry.objects.all().delete()
    group = api.post(f"{V1}groups/", {"name": "g"}, format="json").json()["id"]
    client = api.post(f"{V1}clients/", {"client_id": "a", "groups": ["g"]}, format="json").json()["id"]
    rule = {"effect": "allow", "action": "both", "filter": "a", "group": group}
    rule = api.post(f"{V1}acl/rules/", rule, format="json").json()["id"]
    ban = api.post(f"{V1}bans/", {"kind": "username", "value": "m"}, format="json").json()["id"]
    account = api.post(f"{V1}service-accounts/", {"name": "s", "roles": ["viewer"]}, format="json").json()[
        "id"
    ]
    role = api.post(
        f"{V1}roles/", {"name": "r", "permissions": [permissions.VIEW_BAN]}, format="json"
    ).json()["id"]
    api.post(f"{V1}clients/{client}/rotate/", {}, format="json")
    api.post(f"{V1}clients/{client}/kick/")
    api.post(f"{V1}clients/{client}/disable/")
    for path in (
        f"clients/{client}",
        f"groups/{group}",
        f"bans/{ban}",
        f"service-accounts/{account}",
        f"roles/{role}",
    ):
        assert api.delete(f"{V1}{path}/").status_code == 204
    assert rule
    done = {(entry["type"], entry["action"]) for entry in trail(api, "?page_size=200")}
    both = {
        (kind, action)
        for kind in ("client", "credential", "clientgroup", "aclrule", "ban", "role", "serviceaccount")
        for action in ("create", "delete")
    }
    assert done == both | {
        ("client", "kicked"),
        ("client", "update"),
        ("credential", "update"),
        ("serviceaccount", "update"),
    }


def test_no_secret_is_in_it(api: APIClient) -> None:
    client = ClientFactory()
    CredentialFactory(client=client)
    secret = api.post(f"{V1}clients/{client.pk}/rotate/", {}, format="json").json()["secret"]
    api.post(f"{V1}service-accounts/", {"name": "s"}, format="json")
    body = {"client": client.pk, "kind": "password", "username": "p", "password": "a long passphrase"}
    api.post(f"{V1}credentials/", body, format="json")
    text = json.dumps(list(LogEntry.objects.values()), default=str)
    for part in (secret, "sha256$", "pbkdf2", "SCRAM-SHA-256$", "gAAAA", "a long passphrase"):
        assert part not in text
    (entry,) = trail(api, "?type=credential&action=create&object=password+p")
    assert entry["changes"]["secret"] == ["", "***"]


def test_what_was_refused_leaves_no_trace(api: APIClient, bobs: APIClient) -> None:
    client = ClientFactory(client_id="a")
    LogEntry.objects.all().delete()
    api.post(f"{V1}clients/", {"client_id": "a"}, format="json")
    bobs.delete(f"{V1}clients/{client.pk}/")
    assert trail(api) == []


def test_a_credential_is_told_by_its_client_even_when_both_are_gone(api: APIClient) -> None:
    client = CredentialFactory(client=ClientFactory(client_id="a")).client
    api.delete(f"{V1}clients/{client.pk}/")
    entry = LogEntry.objects.get(content_type__model="credential", action=LogEntry.Action.DELETE)
    assert entry.additional_data["client_id"] == "a"
