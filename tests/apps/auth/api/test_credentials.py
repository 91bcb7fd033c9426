"""credentials/ and clients/{id}/rotate/."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.auth import passwords
from apps.auth.models import Credential
from apps.auth.selectors import connect_facts
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import SECRET, ClientFactory, CredentialFactory

pytestmark = pytest.mark.django_db
CREDENTIALS = "/api/v1/credentials/"


def valid_secrets(client_id: str) -> list[str]:
    return [row.secret for row in connect_facts(client_id).credentials]


def test_rotation_with_overlap(api: APIClient, announced: Announced) -> None:
    old = CredentialFactory(client=ClientFactory(client_id="a"))
    with announced() as heard:
        response = api.post(f"/api/v1/clients/{old.client.pk}/rotate/", {"overlap": 3600}, format="json")
    fresh = response.json()
    assert response.status_code == 200
    for secret in (SECRET, fresh["secret"]):
        assert passwords.verify_generated(secret.encode(), valid_secrets("a"))
    old.refresh_from_db()
    assert timedelta(minutes=59) < old.valid_until - timezone.now() <= timedelta(hours=1)
    assert heard == [{"type": "auth.changed", "what": "credentials", "client_ids": ["a"]}]

    again = api.post(f"/api/v1/clients/{old.client.pk}/rotate/", {}, format="json").json()
    assert again["username"] == "a"
    assert not passwords.verify_generated(fresh["secret"].encode(), valid_secrets("a"))
    assert passwords.verify_generated(again["secret"].encode(), valid_secrets("a"))
    assert passwords.verify_generated(SECRET.encode(), valid_secrets("a"))


def test_rotating_one_of_several(api: APIClient) -> None:
    client = ClientFactory()
    CredentialFactory(client=client, username="one")
    two = CredentialFactory(client=client, username="two")
    url = f"/api/v1/clients/{client.pk}/rotate/"
    assert api.post(url, {}, format="json").json()["errors"][0]["code"] == "ambiguous"
    assert api.post(url, {"username": "none"}, format="json").json()["errors"][0]["code"] == "no_secret"
    assert api.post(url, {"username": "two"}, format="json").json()["username"] == "two"
    ended = api.post(f"{CREDENTIALS}{two.pk}/rotate/", {}, format="json")
    assert ended.json()["errors"][0]["code"] == "ended"
    for overlap in (-1, 90 * 86_400 + 1, "long"):
        assert api.post(url, {"username": "two", "overlap": overlap}, format="json").status_code == 400


def test_a_password_can_take_a_secrets_place(api: APIClient) -> None:
    old = CredentialFactory()
    response = api.post(f"{CREDENTIALS}{old.pk}/rotate/", {"password": "a long passphrase"}, format="json")
    assert (response.json()["kind"], response.json()["secret"]) == ("password", None)


def test_each_kind(api: APIClient) -> None:
    client = ClientFactory(client_id="a")
    for body in (
        {"kind": "secret", "username": "s"},
        {"kind": "password", "password": "a long passphrase"},
        {"kind": "x509", "subject": "CN=a,O=Fleet"},
        {"kind": "jwt", "claim": "sub", "claim_value": "a"},
        {"kind": "secret", "username": "soon", "valid_until": "2100-01-01T00:00:00Z"},
    ):
        response = api.post(CREDENTIALS, body | {"client": client.pk}, format="json")
        assert response.status_code == 201, response.content
        assert (response.json()["secret"] is not None) == (body["kind"] == "secret")
    assert len(valid_secrets("a")) == 5
    listed = api.get(f"{CREDENTIALS}?client_id=a").content.decode()
    assert "secret$" not in listed
    assert '"secret":' not in listed


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"kind": "x509"}, "subject", "required"),
        ({"kind": "jwt", "claim": "sub"}, "claim_value", "required"),
        ({"kind": "password"}, "password", "required"),
        ({"kind": "password", "password": "short"}, "password", "password_too_short"),
        ({"kind": "secret", "password": "a long passphrase"}, "password", "not_allowed"),
        ({"kind": "x509", "subject": "CN=a", "username": "a"}, "username", "not_allowed"),
        ({"kind": "secret", "subject": "CN=a"}, "subject", "not_allowed"),
        ({"kind": "magic"}, "kind", "invalid_choice"),
        ({"valid_until": "2000-01-01T00:00:00Z"}, "valid_until", "in_the_past"),
        ({"client": 10**9}, "client", "unknown_client"),
        ({"client": 10**40}, "client", "unknown_client"),
    ],
)
def test_a_bad_credential(api: APIClient, body: dict[str, object], field: str, code: str) -> None:
    response = api.post(CREDENTIALS, {"client": ClientFactory().pk} | body, format="json")
    assert response.status_code == 400
    assert (field, code) in [(error["field"], error["code"]) for error in response.json()["errors"]]
    assert not Credential.objects.exists()


def test_a_name_is_one_clients(api: APIClient) -> None:
    CredentialFactory(username="taken")
    CredentialFactory(kind="x509", subject="CN=taken")
    CredentialFactory(kind="jwt", claim="sub", claim_value="taken")
    client = ClientFactory()
    for body in (
        {"kind": "secret", "username": "taken"},
        {"kind": "x509", "subject": "CN=taken"},
        {"kind": "jwt", "claim": "sub", "claim_value": "taken"},
    ):
        assert api.post(CREDENTIALS, body | {"client": client.pk}, format="json").status_code == 409
    free = {"kind": "jwt", "claim": "client", "claim_value": "taken", "client": client.pk}
    assert api.post(CREDENTIALS, free, format="json").status_code == 201


def test_removing_one(api: APIClient, announced: Announced) -> None:
    credential = CredentialFactory(client=ClientFactory(client_id="a"))
    with announced() as heard:
        assert api.delete(f"{CREDENTIALS}{credential.pk}/").status_code == 204
    assert heard == [{"type": "auth.changed", "what": "credentials", "client_ids": ["a"]}]
    assert valid_secrets("a") == []


def test_a_credential_for_many_client_ids(api: APIClient) -> None:
    """`client_ids` by REST: with the client, and as a credential of its own."""
    body = {"client_id": "house", "client_ids": "home-*"}
    client = api.post("/api/v1/clients/", body, format="json").json()
    (row,) = api.get("/api/v1/credentials/", {"client": client["id"]}).json()["results"]
    assert (row["username"], row["client_ids"]) == ("house", "home-*")
    more = {"client": client["id"], "username": "tools", "client_ids": "*"}
    answer = api.post("/api/v1/credentials/", more, format="json")
    assert (answer.status_code, answer.json()["client_ids"]) == (201, "*")
    wrong = {"client": client["id"], "kind": "x509", "subject": "CN=x", "client_ids": "*"}
    refused = api.post("/api/v1/credentials/", wrong, format="json")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "client_ids")
