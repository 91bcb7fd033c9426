"""bans/."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.auth.models import Ban
from apps.auth.services.bans import ban_for_a_while
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import BanFactory

pytestmark = pytest.mark.django_db
BANS = "/api/v1/bans/"
TOLD = {"type": "auth.changed", "what": "bans", "client_ids": None}


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("client_id", "a", "a"),
        ("username", "a", "a"),
        ("pattern", "dev-*-?", "dev-*-?"),
        ("address", "192.0.2.7", "192.0.2.7/32"),
        ("address", "192.0.2.7/24", "192.0.2.0/24"),
        ("address", "2001:DB8:0::1", "2001:db8::1/128"),
        ("address", "::ffff:192.0.2.7", "192.0.2.7/32"),
        ("address", "0.0.0.0/0", "0.0.0.0/0"),
    ],
)
def test_a_ban_from_birth_to_end(
    api: APIClient, announced: Announced, kind: str, value: str, kept: str
) -> None:
    with announced() as heard:
        made = api.post(BANS, {"kind": kind, "value": value, "reason": "noise"}, format="json")
    assert (made.status_code, made.json()["value"], made.json()["active"]) == (201, kept, True)
    again = api.post(BANS, {"kind": kind, "value": value}, format="json")
    assert (again.status_code, again.json()["existing_id"]) == (409, made.json()["id"])
    url = f"{BANS}{made.json()['id']}/"
    assert api.patch(url, {"until": "2100-01-01T00:00:00Z"}, format="json").json()["reason"] == "noise"
    assert api.delete(url).status_code == 204
    assert heard == [TOLD]


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"kind": "address", "value": "192.0.2.256"}, "", "invalid_network"),
        ({"kind": "address", "value": "example.org"}, "", "invalid_network"),
        ({"kind": "pattern", "value": "*a" * 9}, "value", "too_many_stars"),
        ({"kind": "client_id", "value": ""}, "value", "blank"),
        ({"kind": "client_id", "value": "a\u0001"}, "value", "control_character"),
        ({"kind": "colour", "value": "red"}, "kind", "invalid_choice"),
        ({"kind": "username", "value": "a", "until": "2000-01-01T00:00:00Z"}, "until", "in_the_past"),
        ({"kind": "username", "value": "a", "automatic": True}, "automatic", "unknown_field"),
    ],
)
def test_a_bad_ban(api: APIClient, body: dict[str, object], field: str, code: str) -> None:
    response = api.post(BANS, body, format="json")
    assert response.status_code == 400
    assert (field, code) in [(error["field"], error["code"]) for error in response.json()["errors"]]
    assert not Ban.objects.exists()


def test_a_ban_that_ended_makes_room(api: APIClient) -> None:
    ended = BanFactory(value="a", until=timezone.now() - timedelta(seconds=1), automatic=True)
    made = api.post(BANS, {"kind": "client_id", "value": "a"}, format="json")
    assert (made.status_code, made.json()["id"]) == (201, ended.pk)
    assert (made.json()["active"], made.json()["automatic"]) == (True, False)


def test_a_ban_by_the_node_itself(api: APIClient) -> None:
    until = timezone.now() + timedelta(minutes=10)
    made = ban_for_a_while("address", "192.0.2.7/32", until, "guessing")
    assert made is not None
    assert ban_for_a_while("address", "192.0.2.7/32", until, "guessing") is None
    (row,) = api.get(f"{BANS}?automatic=true").json()["results"]
    assert (row["value"], row["reason"]) == ("192.0.2.7/32", "guessing")
    (entry,) = api.get("/api/v1/audit/?type=ban").json()["results"]
    assert (entry["by"], entry["action"]) == ("system", "create")
