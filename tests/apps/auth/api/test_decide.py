"""auth/connect, auth/publish, auth/subscribe and acl/explain: decided by the real chain and the database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.auth import decisions
from apps.auth.models import Client
from tests.apps.auth.api.conftest import Caller
from tests.apps.auth.factories import (
    SECRET,
    BanFactory,
    ClientFactory,
    CredentialFactory,
    GroupFactory,
    RuleFactory,
)

pytestmark = pytest.mark.django_db(transaction=True)
V1 = "/api/v1/"


@pytest.fixture
def pump() -> Client:
    client = ClientFactory(client_id="pump-1", groups=[GroupFactory(name="pumps")])
    CredentialFactory(client=client, username="pump")
    return client


@pytest.fixture
def gateway(service: Caller) -> Iterator[APIClient]:
    """With a chain of its own: it counts failures over its life, and its threads hold connections."""
    decisions._chain.cache_clear()
    yield service("gateway")
    decisions._chain().parts.database.close()
    decisions._chain.cache_clear()


def ask(api: APIClient, what: str, **body: Any) -> Any:
    response = api.post(V1 + what, {"client_id": "pump-1", "username": "pump"} | body, format="json")
    assert response.status_code == 200, response.content
    return response.json()


def test_who_may_connect(gateway: APIClient, pump: Client) -> None:
    assert ask(gateway, "auth/connect", password=SECRET) == {
        "decision": "allow",
        "reason_code": 0,
        "reason": "",
        "username": "pump",
        "groups": ["pumps"],
        "expires_at": None,
    }
    wrong = ask(gateway, "auth/connect", password="gmq_" + "y" * 43)
    assert (wrong["decision"], wrong["reason_code"]) == ("deny", 0x86)
    stranger = ask(gateway, "auth/connect", client_id="nobody", password=SECRET)
    assert (stranger["decision"], stranger["groups"]) == ("pass", [])


def test_nothing_is_remembered(gateway: APIClient, pump: Client) -> None:
    assert ask(gateway, "auth/connect", password=SECRET)["decision"] == "allow"
    pump.enabled = False
    pump.save()
    assert ask(gateway, "auth/connect", password=SECRET)["decision"] == "deny"
    pump.enabled = True
    pump.transport_mask = 2
    pump.save()
    assert ask(gateway, "auth/connect", password=SECRET)["decision"] == "deny"
    assert ask(gateway, "auth/connect", password=SECRET, transport="tls")["decision"] == "allow"
    ban = BanFactory(kind="address", value="192.0.2.0/24")
    banned = ask(gateway, "auth/connect", password=SECRET, transport="tls", address="192.0.2.7")
    assert (banned["decision"], banned["reason_code"]) == ("deny", 0x8A)
    ban.delete()
    allowed = ask(gateway, "auth/connect", password=SECRET, transport="tls", address="192.0.2.7")
    assert allowed["decision"] == "allow"
    pump.credentials.update(valid_until=timezone.now() - timedelta(seconds=1))
    assert ask(gateway, "auth/connect", password=SECRET, transport="tls")["decision"] != "allow"


def test_who_may_publish_and_subscribe(gateway: APIClient, pump: Client) -> None:
    RuleFactory(client=pump, filter="up/${clientid}", action="publish", max_qos=1, retain=False)
    RuleFactory(group=pump.groups.get(), filter="down/${group}/#", action="subscribe", max_qos=1)
    up = ask(gateway, "auth/publish", topic="up/pump-1", qos=1)
    assert up == {"decision": "allow", "max_qos": 1, "retain": False}
    assert ask(gateway, "auth/publish", topic="up/pump-1", qos=2)["decision"] == "deny"
    assert ask(gateway, "auth/publish", topic="up/pump-1", retain=True)["decision"] == "deny"
    assert ask(gateway, "auth/publish", topic="up/pump-2")["decision"] == "pass"
    down = {"decision": "allow", "qos": 1}
    assert ask(gateway, "auth/subscribe", filter="down/pumps/a", qos=2) == down
    assert ask(gateway, "auth/subscribe", filter="$share/g/down/pumps/#", qos=2) == down
    assert ask(gateway, "auth/subscribe", filter="#") == {"decision": "pass", "qos": None}
    RuleFactory(effect="deny", filter="#", priority=1)
    assert ask(gateway, "auth/subscribe", filter="#") == {"decision": "deny", "qos": None}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("auth/connect", {"client_id": ""}, "client_id"),
        ("auth/connect", {"address": "here"}, "address"),
        ("auth/connect", {"transport": "udp"}, "transport"),
        ("auth/connect", {"secret": "x"}, "secret"),
        ("auth/publish", {}, "topic"),
        ("auth/publish", {"topic": "a/#"}, "topic"),
        ("auth/publish", {"topic": "a", "qos": 3}, "qos"),
        ("auth/subscribe", {"filter": "a/#/b"}, "filter"),
        ("auth/subscribe", {"filter": "$share/g"}, "filter"),
    ],
)
def test_a_bad_question(gateway: APIClient, path: str, body: dict[str, object], field: str) -> None:
    response = gateway.post(V1 + path, {"client_id": "a"} | body, format="json")
    assert response.status_code == 400
    assert [error["field"] for error in response.json()["errors"]] == [field]


# ---------------------------------------------------------------- explain


def test_the_rule_that_decides_and_those_passed_over(service: Caller, pump: Client) -> None:
    viewer = service("viewer")
    other = RuleFactory(client=pump, filter="other/#", priority=5)
    subscribing = RuleFactory(client=pump, filter="up/#", action="subscribe", priority=4)
    deciding = RuleFactory(
        group=pump.groups.get(), filter="up/${username}", priority=3, max_qos=1, retain=False
    )
    RuleFactory(effect="deny", filter="#")
    question = {"client_id": "pump-1", "action": "publish", "topic": "up/pump"}
    answer = viewer.post(V1 + "acl/explain", question, format="json").json()
    assert answer["decision"] == "allow"
    assert (answer["max_qos"], answer["retain"]) == (1, False)
    assert answer["rule"] == {
        "id": deciding.pk,
        "effect": "allow",
        "action": "both",
        "filter": "up/${username}",
        "scope": "group",
        "group": "pumps",
        "priority": 3,
    }
    assert [rule["id"] for rule in answer["passed_over"]] == [other.pk, subscribing.pk]
    assert answer["passed_over"][1]["why"] == "is about subscribe only"
    refused = viewer.post(V1 + "acl/explain", question | {"qos": 2}, format="json").json()
    assert (refused["decision"], refused["rule"]["id"]) == ("deny", deciding.pk)
    wanted = {"client_id": "pump-1", "action": "subscribe", "topic": "$share/g/up/x", "qos": 2}
    granted = viewer.post(V1 + "acl/explain", wanted, format="json").json()
    assert (granted["decision"], granted["max_qos"], granted["rule"]["id"]) == ("allow", 2, subscribing.pk)


def test_where_no_rule_matches_the_default_holds(service: Caller, pump: Client) -> None:
    question = {"client_id": "pump-1", "action": "publish", "topic": "a"}
    answer = service("viewer").post(V1 + "acl/explain", question, format="json").json()
    assert answer == {"decision": "deny", "max_qos": None, "retain": False, "rule": None, "passed_over": []}


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"client_id": "nobody"}, "client_id", "unknown_client"),
        ({"action": "fly"}, "action", "invalid_choice"),
        ({"topic": "a/+"}, "topic", "invalid_topic"),
        ({"topic": ""}, "topic", "blank"),
    ],
)
def test_a_bad_question_about_rules(
    service: Caller, pump: Client, body: dict[str, object], field: str, code: str
) -> None:
    question = {"client_id": "pump-1", "action": "publish", "topic": "a"} | body
    response = service("viewer").post(V1 + "acl/explain", question, format="json")
    assert response.status_code == 400
    assert [(error["field"], error["code"]) for error in response.json()["errors"]] == [(field, code)]
