"""Change, enable, disable and kick clients; groups."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from apps.auth.models import AclRule, Client, ClientGroup
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import ClientFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db
CLIENTS = "/api/v1/clients/"
GROUPS = "/api/v1/groups/"


def told(what: str, *client_ids: str) -> dict[str, object]:
    return {"type": "auth.changed", "what": what, "client_ids": list(client_ids)}


def test_change(api: APIClient, announced: Announced) -> None:
    client = ClientFactory(client_id="a", groups=[GroupFactory(name="old")])
    GroupFactory(name="new")
    body = {"owner": "ann", "groups": ["new"], "transports": ["wss", "tls"], "display_name": "泵"}
    with announced() as heard:
        answer = api.patch(f"{CLIENTS}{client.pk}/", body, format="json").json()
    assert {name: answer[name] for name in body} == body | {"transports": ["tls", "wss"]}
    assert heard == [told("client", "a")]
    client.refresh_from_db()
    assert (client.owner, client.transport_mask, client.groups.get().name) == ("ann", 10, "new")


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"client_id": "b"}, "client_id", "unknown_field"),
        ({"last_seen": None}, "last_seen", "unknown_field"),
        ({"groups": ["none"]}, "groups", "unknown_group"),
        ({"transports": []}, "transports", "min_length"),
        ({"enabled": "perhaps"}, "enabled", "invalid"),
        ({"owner": "a\u009fb"}, "owner", "control_character"),
        ({"owner": None}, "owner", "null"),
    ],
)
def test_a_bad_change(api: APIClient, body: dict[str, object], field: str, code: str) -> None:
    client = ClientFactory()
    response = api.patch(f"{CLIENTS}{client.pk}/", body, format="json")
    assert response.status_code == 400
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]


def test_disable_and_enable(api: APIClient, announced: Announced) -> None:
    client = ClientFactory(client_id="a")
    for verb, enabled, said in (("disable", False, 1), ("disable", False, 0), ("enable", True, 1)):
        with announced() as heard:
            answer = api.post(f"{CLIENTS}{client.pk}/{verb}/")
        assert (answer.status_code, answer.json()["enabled"]) == (200, enabled)
        assert heard == [told("client", "a")] * said


def test_kick(api: APIClient, announced: Announced) -> None:
    client = ClientFactory(client_id="a")
    with announced() as heard:
        assert api.post(f"{CLIENTS}{client.pk}/kick/").status_code == 202
    assert heard == [told("kicked", "a")]


def test_what_failed_is_not_announced(api: APIClient, announced: Announced) -> None:
    client = ClientFactory(client_id="a")
    with announced() as heard:
        api.patch(f"{CLIENTS}{client.pk}/", {"owner": "x", "groups": ["none"]}, format="json")
    assert heard == []
    assert Client.objects.get().owner == ""


def test_a_group_from_birth_to_end(api: APIClient, announced: Announced) -> None:
    made = api.post(GROUPS, {"name": "pumps"}, format="json")
    assert (made.status_code, made.json()["members"]) == (201, 0)
    url = f"{GROUPS}{made.json()['id']}/"
    client = ClientFactory(client_id="a", groups=[ClientGroup.objects.get()])
    RuleFactory(group=ClientGroup.objects.get())
    with announced() as heard:
        assert api.patch(url, {"name": "valves"}, format="json").json()["members"] == 1
        api.patch(url, {"description": "no news to a node"}, format="json")
    assert heard == [told("rules", "a")]
    with announced() as heard:
        assert api.delete(url).status_code == 204
    assert heard == [told("rules", "a")]
    assert not AclRule.objects.exists()
    assert list(Client.objects.all()) == [client]


def test_group_names(api: APIClient) -> None:
    known = GroupFactory(name="pumps")
    response = api.post(GROUPS, {"name": "pumps"}, format="json")
    assert (response.status_code, response.json()["existing_id"]) == (409, known.pk)
    other = GroupFactory(name="other")
    assert api.patch(f"{GROUPS}{other.pk}/", {"name": "pumps"}, format="json").status_code == 409
    for name in ("", "a/b", "+", "#", "a;b", "a\u0000", "x" * 129):
        assert api.post(GROUPS, {"name": name}, format="json").status_code == 400
