"""Client ids that may not stand in a topic: registered, with a word on which rules cannot apply, and why."""

from __future__ import annotations

import pytest
from django.test import Client as Browser
from rest_framework.test import APIClient

from apps.auth.acl import Rules, Subject
from apps.auth.models import Client
from apps.auth.selectors import connect_facts
from apps.gateway.broker.ports import PUBLISH_ALL
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db
CLIENTS = "/api/v1/clients/"


@pytest.mark.parametrize(
    ("client_id", "why"),
    [("site/7", 'has "/" in it'), ("a+b", 'has "+" in it'), ("#1/x", 'has "/" and "#" in it')],
)
def test_the_answer_names_rules_and_reason(api: APIClient, client_id: str, why: str) -> None:
    everyone = RuleFactory(filter="devices/${clientid}/#")
    own = RuleFactory(filter="of/${username}/+", group=GroupFactory(name="pumps"))
    RuleFactory(filter="public/#")
    response = api.post(CLIENTS, {"client_id": client_id, "groups": ["pumps"]}, format="json")
    assert response.status_code == 201
    by_id, by_name = response.json()["warnings"]
    assert (by_id["code"], by_id["field"], by_id["rules"]) == (
        "placeholder_not_applicable",
        "client_id",
        [everyone.pk],
    )
    assert why in by_id["detail"] and "allow both devices/${clientid}/#" in by_id["detail"]
    assert (by_name["field"], by_name["rules"]) == ("username", [own.pk])


def test_a_user_name_that_can_stand_in_a_topic_helps(api: APIClient) -> None:
    body = {"client_id": "site/7", "username": "site-7"}
    (warning,) = api.post(CLIENTS, body, format="json").json()["warnings"]
    assert warning["field"] == "client_id"


@pytest.mark.parametrize("client_id", ["pump 7", " pump", "Pumpe-ü", "a.b:c"])
def test_others_are_no_trouble(api: APIClient, client_id: str) -> None:
    """A space is a character like any other, in a rule, too."""
    RuleFactory(filter="devices/${clientid}/#")
    response = api.post(CLIENTS, {"client_id": client_id}, format="json")
    assert response.status_code == 201 and "warnings" not in response.json()
    rules = Rules(connect_facts(client_id).rules, Subject(client_id, client_id))
    assert rules.publish(f"devices/{client_id}/x") == PUBLISH_ALL


@pytest.mark.parametrize("client_id", ["+", "#", "a/b", "../x", "+/x", "$SYS"])
def test_a_template_does_not_match_more_for_such_a_name(client_id: str) -> None:
    client = ClientFactory(client_id=client_id)
    RuleFactory(filter="devices/${clientid}/#")
    RuleFactory(filter="${clientid}/#")
    rules = Rules(connect_facts(client.client_id).rules, Subject(client_id, client_id))
    for topic in ("devices/other/x", "devices/a/b/x", "devices/x", "a/b/c", "$SYS/x", "devices/+/x"):
        assert rules.publish(topic) != PUBLISH_ALL, topic


def test_in_bulk(api: APIClient) -> None:
    rows = [{"client_id": "plain"}, {"client_id": "site/1"}, {"client_id": "site/2", "username": "s2"}]
    found = api.post(f"{CLIENTS}bulk/", {"clients": rows}, format="json").json()["rows"]
    assert [len(row.get("warnings", [])) for row in found] == [0, 2, 1]


def test_the_console_says_it_too(admin_client: Browser) -> None:
    client = ClientFactory(client_id="site/7")
    CredentialFactory(client=client)
    RuleFactory(filter="devices/${clientid}/#")
    shown = admin_client.get(f"/admin/mqtt_auth/client/{client.pk}/change/", headers={"host": "localhost"})
    text = shown.content.decode()
    assert "ules that cannot apply" in text and "devices/${clientid}/#" in text
    plain = ClientFactory(client_id="site-7")
    shown = admin_client.get(f"/admin/mqtt_auth/client/{plain.pk}/change/", headers={"host": "localhost"})
    assert "ules that cannot apply" not in shown.content.decode()
    assert Client.objects.count() == 2
