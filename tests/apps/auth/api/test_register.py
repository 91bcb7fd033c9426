"""POST clients/ and DELETE clients/{id}/."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from apps.auth import passwords
from apps.auth.models import AclRule, Client, Credential, IdempotentRequest
from tests.apps.auth.api.conftest import Caller
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db
CLIENTS = "/api/v1/clients/"


def test_a_registrar_registers_and_unregisters(service: Caller, announced: Announced) -> None:
    registrar = service("registrar")
    GroupFactory(name="pumps")
    body = {"client_id": "pump-1", "display_name": "水泵", "groups": ["pumps"], "transports": ["tls", "wss"]}
    with announced() as heard:
        response = registrar.post(CLIENTS, body, format="json")
    assert response.status_code == 201
    answer = response.json()
    client = Client.objects.get()
    assert answer == {
        "id": client.pk,
        "client_id": "pump-1",
        "username": "pump-1",
        "secret": answer["secret"],
    }
    encoded = Credential.objects.values_list("secret", flat=True)
    assert passwords.verify_generated(answer["secret"].encode(), encoded)
    assert heard[0]["what"] == "client"

    RuleFactory(client=client)
    with announced() as heard:
        response = registrar.delete(f"{CLIENTS}{client.pk}/")
    assert (response.status_code, response.content) == (204, b"")
    assert not (Client.objects.exists() or Credential.objects.exists() or AclRule.objects.exists())
    assert heard == [{"type": "auth.changed", "what": "unregistered", "client_ids": ["pump-1"]}]
    assert registrar.delete(f"{CLIENTS}{client.pk}/").status_code == 404


def test_an_empty_body_is_enough(api: APIClient) -> None:
    answer = api.post(CLIENTS, {}, format="json").json()
    assert answer["client_id"] == answer["username"]
    assert passwords.looks_generated(answer["secret"])


def test_a_duplicate_is_told_with_the_id_it_has(api: APIClient) -> None:
    known = CredentialFactory(client=ClientFactory(client_id="a"), username="ann")
    for body in ({"client_id": "a"}, {"client_id": "b", "username": "ann"}):
        response = api.post(CLIENTS, body, format="json")
        assert response.status_code == 409
        assert response["Content-Type"] == "application/problem+json"
        problem = response.json()
        assert (problem["code"], problem["existing_id"], problem["status"]) == (
            "duplicate",
            known.client.pk,
            409,
        )
    assert Client.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"client_id": "a\u0001"}, "client_id", "control_character"),
        ({"client_id": "a\u0000"}, "client_id", "null_characters_not_allowed"),
        ({"client_id": "a" * 257}, "client_id", "max_length"),
        ({"client_id": ["a"]}, "client_id", "invalid"),
        ({"client": "a"}, "client", "unknown_field"),
        ({"client_id": "a", "secret": "mine"}, "secret", "unknown_field"),
        ({"client_id": "a", "groups": ["none"]}, "groups", "unknown_group"),
        ({"client_id": "a", "groups": "pumps"}, "groups", "not_a_list"),
        ({"client_id": "a", "transports": ["udp"]}, "transports.0", "invalid_choice"),
        ({"client_id": "a", "transports": []}, "transports", "min_length"),
        ({"client_id": "a", "password": "12345678"}, "password", "password_too_common"),
        ([], "", "invalid"),
        ("text", "", "invalid"),
    ],
)
def test_a_bad_request_says_what_is_wrong(api: APIClient, body: object, field: str, code: str) -> None:
    response = api.post(CLIENTS, body, format="json")
    assert response.status_code == 400, response.content
    problem = response.json()
    assert problem["code"] == "invalid"
    assert (field, code) in [(error["field"], error["code"]) for error in problem["errors"]]
    assert not Client.objects.exists()


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"{", "parse_error"),
        (b"[" * 100_000, "parse_error"),
        (b'{"client_id": "\xff"}', "parse_error"),
        (b'{"client_id": NaN}', "parse_error"),
        (b'{"client_id": "\\ud800"}', "invalid"),
    ],
)
def test_what_is_no_json(api: APIClient, raw: bytes, code: str) -> None:
    response = api.post(CLIENTS, raw, content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (400, code)


def test_other_media_types_are_refused(api: APIClient) -> None:
    response = api.post(CLIENTS, "client_id=a", content_type="application/x-www-form-urlencoded")
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")


def test_a_huge_body_is_refused_before_it_is_read(api: APIClient) -> None:
    response = api.post(CLIENTS, b" " * (1 << 20) + b"{}", content_type="application/json")
    assert (response.status_code, response.json()["code"]) == (413, "too_large")
    response = api.post(CLIENTS, b"{}", content_type="application/json", HTTP_TRANSFER_ENCODING="chunked")
    assert (response.status_code, response.json()["code"]) == (411, "length_required")


# ---------------------------------------------------------------- Idempotency-Key


def test_the_same_key_has_the_same_answer(api: APIClient) -> None:
    first = api.post(CLIENTS, {"client_id": "a"}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    again = api.post(CLIENTS, {"client_id": "a"}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again["Idempotent-Replayed"] == "true"
    assert Client.objects.count() == 1
    kept = IdempotentRequest.objects.get()
    assert first.json()["secret"] not in kept.answer
    assert "k1" not in (kept.key_hash, kept.answer)


def test_the_same_key_with_another_request(api: APIClient) -> None:
    api.post(CLIENTS, {"client_id": "a"}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    response = api.post(CLIENTS, {"client_id": "b"}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    assert (response.status_code, response.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_is_of_one_caller(api: APIClient, service: Caller) -> None:
    api.post(CLIENTS, {"client_id": "a"}, format="json", HTTP_IDEMPOTENCY_KEY="k1")
    response = service("registrar").post(
        CLIENTS, {"client_id": "a"}, format="json", HTTP_IDEMPOTENCY_KEY="k1"
    )
    assert response.status_code == 409


def test_a_failure_is_not_remembered(api: APIClient) -> None:
    assert api.post(CLIENTS, {"x": 1}, format="json", HTTP_IDEMPOTENCY_KEY="k1").status_code == 400
    assert api.post(CLIENTS, {"client_id": "a"}, format="json", HTTP_IDEMPOTENCY_KEY="k1").status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "ü", "x" * 256])
def test_what_is_no_key(api: APIClient, key: str) -> None:
    response = api.post(CLIENTS, {}, format="json", HTTP_IDEMPOTENCY_KEY=key)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_idempotency_key")
