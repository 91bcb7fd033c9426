"""Who manages one group sees and changes just that group's clients."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from guardian.shortcuts import assign_perm, remove_perm
from rest_framework.test import APIClient

from apps.auth.models import Client, ClientGroup
from tests.apps.auth.api.conftest import operator
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db
V1 = "/api/v1/"


@pytest.fixture
def world(pumps: ClientGroup) -> dict[str, Any]:
    """One client of bob's and one of somebody else, each with a credential and a rule."""
    theirs = GroupFactory(name="valves")
    rows: dict[str, Any] = {"valves": theirs}
    for name, group in (("mine", pumps), ("theirs", theirs)):
        client = ClientFactory(client_id=name, groups=[group])
        rows[name] = client
        rows[f"{name} credential"] = CredentialFactory(client=client)
        rows[f"{name} rule"] = RuleFactory(client=client)
    rows["all rule"] = RuleFactory()
    return rows


def names(api: APIClient, path: str, name: str) -> set[str]:
    return {row[name] for row in api.get(V1 + path).json()["results"]}


def test_lists_show_what_is_his(bobs: APIClient, world: dict[str, Any]) -> None:
    assert names(bobs, "clients/", "client_id") == {"mine"}
    assert names(bobs, "credentials/", "client_id") == {"mine"}
    assert names(bobs, "groups/", "name") == {"pumps"}
    assert names(bobs, "acl/rules/", "client_id") == {"mine"}
    assert names(bobs, "clients/?client_id=theirs", "client_id") == set()
    assert names(bobs, "clients/?search=e", "client_id") == {"mine"}
    exported = b"".join(bobs.get(V1 + "clients/export/").streaming_content).decode()
    assert "mine" in exported
    assert "theirs" not in exported


def test_what_is_not_his_is_not_there(bobs: APIClient, world: dict[str, Any]) -> None:
    theirs = world["theirs"].pk
    credential = world["theirs credential"].pk
    for method, path, body in (
        ("get", f"clients/{theirs}/", None),
        ("patch", f"clients/{theirs}/", {"owner": "bob"}),
        ("delete", f"clients/{theirs}/", None),
        ("post", f"clients/{theirs}/disable/", None),
        ("post", f"clients/{theirs}/rotate/", {}),
        ("post", f"clients/{theirs}/kick/", None),
        ("get", f"credentials/{credential}/", None),
        ("delete", f"credentials/{credential}/", None),
        ("post", f"credentials/{credential}/rotate/", {}),
        ("get", f"groups/{world['valves'].pk}/", None),
    ):
        response = getattr(bobs, method)(V1 + path, body, format="json")
        assert response.status_code == 404, (method, path)
    assert bobs.post(V1 + "credentials/", {"client": theirs}, format="json").status_code == 400
    explain = {"client_id": "theirs", "action": "publish", "topic": "a"}
    assert bobs.post(V1 + "acl/explain", explain, format="json").status_code == 400
    assert Client.objects.count() == 2


def test_he_changes_what_is_his(bobs: APIClient, world: dict[str, Any]) -> None:
    mine = world["mine"].pk
    assert bobs.patch(f"{V1}clients/{mine}/", {"owner": "bob"}, format="json").json()["owner"] == "bob"
    assert bobs.post(f"{V1}clients/{mine}/rotate/", {}, format="json").status_code == 200
    assert bobs.delete(f"{V1}clients/{mine}/").status_code == 204


def test_he_moves_clients_between_his_groups_and_never_out_of_sight(
    bob: User, bobs: APIClient, world: dict[str, Any]
) -> None:
    url = f"{V1}clients/{world['mine'].pk}/"

    def move(*groups: str) -> int:
        return bobs.patch(url, {"groups": list(groups)}, format="json").status_code

    assert move("pumps") == 200
    assert move("pumps", "valves") == 403
    assert move("valves") == 403
    assert move() == 403
    assign_perm("manage_members", bob, world["valves"])
    assert move("pumps", "valves") == 200
    assert move("valves") == 200
    other = GroupFactory(name="other")
    world["mine"].groups.add(other)
    assert move("pumps", "other") == 200
    assert move("pumps") == 403
    assert move("other") == 403


def test_rules_are_a_right_of_their_own(bob: User, pumps: ClientGroup, world: dict[str, Any]) -> None:
    ClientGroup.objects.filter(pk=pumps.pk).update(namespace=["pumps"])
    rule = {"effect": "allow", "action": "both", "filter": "pumps/#"}
    mine = {"client": world["mine"].pk}
    bobs = operator(bob)
    assert bobs.post(V1 + "acl/rules/", rule | mine, format="json").status_code == 403
    assign_perm("manage_rules", bob, pumps)
    bobs = operator(User.objects.get(pk=bob.pk))
    assert bobs.post(V1 + "acl/rules/", rule | mine, format="json").status_code == 201
    made = bobs.post(V1 + "acl/rules/", rule | {"group": pumps.pk}, format="json")
    assert made.status_code == 201
    assert bobs.post(V1 + "acl/rules/", rule, format="json").status_code == 403
    for theirs in ({"client": world["theirs"].pk}, {"group": world["valves"].pk}):
        assert bobs.post(V1 + "acl/rules/", rule | theirs, format="json").status_code == 400
    url = f"{V1}acl/rules/{made.json()['id']}/"
    assert bobs.patch(url, {"group": None}, format="json").status_code == 403
    assert bobs.patch(url, {"note": "x"}, format="json").status_code == 200
    assert bobs.delete(f"{V1}acl/rules/{world['theirs rule'].pk}/").status_code == 404
    assert bobs.delete(f"{V1}acl/rules/{world['all rule'].pk}/").status_code == 404
    assert bobs.delete(url).status_code == 204


def test_who_may_only_see(charlie: User, pumps: ClientGroup, world: dict[str, Any]) -> None:
    assign_perm("view_members", charlie, pumps)
    charlies = operator(charlie)
    mine = world["mine"].pk
    assert charlies.get(f"{V1}clients/{mine}/").status_code == 200
    for method, path in (("patch", f"clients/{mine}/"), ("delete", f"clients/{mine}/")):
        assert getattr(charlies, method)(V1 + path, {}, format="json").status_code == 403
    manages = GroupFactory()
    assign_perm("manage_members", charlie, manages)
    charlies = operator(User.objects.get(pk=charlie.pk))
    assert charlies.delete(f"{V1}clients/{mine}/").status_code == 403


def test_rights_come_by_a_django_group_too_and_go(
    charlie: User, pumps: ClientGroup, world: dict[str, Any]
) -> None:
    team = Group.objects.create(name="pump team")
    charlie.groups.add(team)
    assign_perm("manage_members", team, pumps)
    assert names(operator(charlie), "clients/", "client_id") == {"mine"}
    remove_perm("manage_members", team, pumps)
    assert operator(User.objects.get(pk=charlie.pk)).get(V1 + "clients/").status_code == 403


def test_who_is_not_active_may_nothing(bob: User, world: dict[str, Any]) -> None:
    bobs = operator(bob)
    bob.is_active = False
    bob.save()
    assert bobs.get(V1 + "clients/").status_code == 401


def test_bulk_rows_outside_his_groups_are_refused(bobs: APIClient, world: dict[str, Any]) -> None:
    rows = [
        {"client_id": "a", "groups": ["pumps"]},
        {"client_id": "b", "groups": ["valves"]},
        {"client_id": "c"},
    ]
    answer = bobs.post(V1 + "clients/bulk/", {"clients": rows}, format="json").json()
    assert [row["status"] for row in answer["rows"]] == [201, 403, 403]
