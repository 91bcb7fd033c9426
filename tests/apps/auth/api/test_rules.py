"""acl/rules/: rules, and which of them can never match."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from apps.auth.models import AclRule, Client
from apps.auth.services.rules import MAX_RULES
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import ClientFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db
RULES = "/api/v1/acl/rules/"


def make(api: APIClient, **body: Any) -> Any:
    return api.post(RULES, {"effect": "allow", "action": "both", "filter": "a/b"} | body, format="json")


def test_a_rule_for_a_client_a_group_and_everyone(api: APIClient, announced: Announced) -> None:
    group = GroupFactory(name="pumps")
    client = ClientFactory(client_id="a", groups=[group])
    ClientFactory(client_id="b", groups=[group])
    ClientFactory(client_id="c")
    for body, who in (({"client": client.pk}, ["a"]), ({"group": group.pk}, ["a", "b"]), ({}, None)):
        with announced() as heard:
            made = make(api, **body)
        assert made.status_code == 201, made.content
        assert heard == [{"type": "auth.changed", "what": "rules", "client_ids": who}]
    first = AclRule.objects.order_by("id")[0]
    with announced() as heard:
        api.patch(f"{RULES}{first.pk}/", {"client": None, "group": group.pk}, format="json")
    assert heard[0]["client_ids"] == ["a", "b"]
    with announced() as heard:
        assert api.delete(f"{RULES}{first.pk}/").status_code == 204
    assert heard[0]["client_ids"] == ["a", "b"]


def test_a_rule_for_very_many_names_nobody(api: APIClient, announced: Announced) -> None:
    group = GroupFactory()
    members = Client.objects.bulk_create(Client(client_id=f"c{n}") for n in range(1001))
    group.clients.set(members)
    with announced() as heard:
        make(api, group=group.pk)
    assert heard[0]["client_ids"] is None


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"filter": ""}, "filter", "blank"),
        ({"filter": "a/#/b"}, "filter", "invalid_topic_filter"),
        ({"filter": "a+"}, "filter", "invalid_topic_filter"),
        ({"filter": "${user}/#"}, "filter", "unknown_placeholder"),
        ({"filter": "${clientid"}, "filter", "unknown_placeholder"),
        ({"filter": "a\u0001"}, "filter", "control_character"),
        ({"filter": "a" * 1025}, "filter", "max_length"),
        ({"effect": "maybe"}, "effect", "invalid_choice"),
        ({"action": "read"}, "action", "invalid_choice"),
        ({"max_qos": 3}, "max_qos", "max_value"),
        ({"priority": 40_000}, "priority", "max_value"),
        ({"effect": "deny", "max_qos": 1}, "effect", "deny_has_no_limits"),
        ({"effect": "deny", "retain": False}, "effect", "deny_has_no_limits"),
        ({"client": 10**30}, "client", "unknown_client"),
        ({"group": 7}, "group", "unknown_group"),
        ({"topic": "a"}, "topic", "unknown_field"),
    ],
)
def test_a_bad_rule(api: APIClient, body: dict[str, object], field: str, code: str) -> None:
    response = make(api, **body)
    assert response.status_code == 400
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]
    assert not AclRule.objects.exists()


def test_a_rule_has_one_subject(api: APIClient) -> None:
    response = make(api, client=ClientFactory().pk, group=GroupFactory().pk)
    assert response.json()["errors"][0]["code"] == "two_subjects"


def test_rules_of_one_subject_are_limited(api: APIClient) -> None:
    """Each new topic of a client is held against all of them."""
    group, other = GroupFactory(), GroupFactory()
    many = [AclRule(group=group, filter=f"f/{number}", **A, action="both") for number in range(MAX_RULES)]
    AclRule.objects.bulk_create(many)
    assert make(api, group=group.pk).json()["errors"][0]["code"] == "too_many_rules"
    found = make(api, group=other.pk)
    assert found.status_code == 201
    path = f"{RULES}{found.json()['id']}/"
    moved = api.patch(path, {"group": group.pk}, format="json")
    assert moved.json()["errors"][0]["code"] == "too_many_rules"
    assert api.patch(path, {"filter": "g"}, format="json").status_code == 200


A, D = {"effect": "allow"}, {"effect": "deny"}


@pytest.mark.parametrize(
    ("before", "rule", "warned"),
    [
        # the rule asked before, the new rule, and whether it can never match
        ({**A, "filter": "a/#"}, {**A, "filter": "a/b"}, True),
        ({**D, "filter": "#"}, {**A, "filter": "a/b"}, True),
        ({**A, "filter": "a/#", "action": "publish"}, {**D, "filter": "a/b", "action": "publish"}, False),
        (
            {**A, "filter": "a/#", "action": "publish", "priority": 1},
            {**D, "filter": "a/b", "action": "publish"},
            True,
        ),
        # A subscription to "#" passes the allow of a/# and meets the deny of a/b.
        ({**A, "filter": "a/#", "priority": 1}, {**D, "filter": "a/b"}, False),
        ({**A, "filter": "a/#", "action": "subscribe"}, {**A, "filter": "a/b", "action": "publish"}, False),
        ({**A, "filter": "a/#", "action": "publish"}, {**A, "filter": "a/b"}, False),
        ({**A, "filter": "a/+"}, {**A, "filter": "a/#"}, False),
        ({**A, "filter": "+/b"}, {**A, "filter": "${clientid}/b"}, False),
        ({**A, "filter": "dev/+/b"}, {**A, "filter": "dev/${clientid}/b"}, True),
        ({**A, "filter": "#"}, {**A, "filter": "$SYS/broker/#", "action": "subscribe"}, False),
        ({**A, "filter": "x"}, {**A, "filter": "$SYS/broker/#", "action": "publish"}, True),
        ({**A, "filter": "x"}, {**A, "filter": "$share/g/a", "action": "subscribe"}, True),
    ],
)
def test_rules_that_can_never_match_are_warned_of(
    api: APIClient, before: dict[str, Any], rule: dict[str, Any], warned: bool
) -> None:
    make(api, **before)
    made = make(api, **rule)
    assert made.status_code == 201, made.content
    assert bool(made.json()["warnings"]) == warned
    assert bool(api.get(f"{RULES}{made.json()['id']}/").json()["warnings"]) == warned


def test_rules_of_others_are_not_in_the_way(api: APIClient) -> None:
    group = GroupFactory()
    client = ClientFactory(groups=[group])
    RuleFactory(filter="#", client=ClientFactory(), priority=9)
    RuleFactory(filter="#", group=GroupFactory(), priority=9)
    assert make(api, client=client.pk).json()["warnings"] == []
    RuleFactory(filter="#")  # everyone's comes after the client's own
    assert make(api, client=client.pk, filter="c").json()["warnings"] == []
    RuleFactory(filter="#", group=group, priority=9)
    assert make(api, client=client.pk, filter="d").json()["warnings"] != []
