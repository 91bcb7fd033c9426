"""Bob, who manages the clients of one group, at the admin: he sees and changes those and nothing else."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm

from apps.auth.models import AclRule, Client, ClientGroup
from tests.apps.auth.admin.pages import ADMIN, browser_of, inline, new_client, rule_row
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def mine(pumps: ClientGroup) -> Client:
    client = ClientFactory(client_id="mine", groups=[pumps])
    CredentialFactory(client=client, username="my-name")
    return client


@pytest.fixture
def theirs() -> Client:
    client = ClientFactory(client_id="theirs", groups=[GroupFactory(name="valves")])
    CredentialFactory(client=client, username="their-name")
    RuleFactory(client=client)
    return client


def test_he_sees_his(bob: User, mine: Client, theirs: Client) -> None:
    browser = browser_of(bob)
    index = browser.get("/admin/").content.decode()
    assert "/admin/mqtt_auth/client/" in index
    assert "/admin/mqtt_auth/ban/" not in index
    for page in ("client/", "credential/", "client/?q=e", "client/?owner="):
        text = browser.get(ADMIN + page, follow=True).content.decode()
        assert "theirs" not in text
    assert "mine" in browser.get(f"{ADMIN}client/").content.decode()
    assert browser.get(f"{ADMIN}client/{mine.pk}/change/").status_code == 200
    for path in (
        f"client/{theirs.pk}/change/",
        f"client/{theirs.pk}/history/",
        "ban/",
        "serviceaccount/",
        "role/",
    ):
        assert browser.get(ADMIN + path).status_code in (302, 403), path
    assert browser.get("/admin/auditlog/logentry/").status_code == 403


def test_he_registers_into_his_group_alone(bob: User, pumps: ClientGroup, theirs: Client) -> None:
    browser = browser_of(bob)
    page = browser.get(f"{ADMIN}client/add/").content.decode()
    assert "pumps" in page
    assert "valves" not in page
    browser.post(f"{ADMIN}client/add/", new_client(client_id="new", groups=[pumps.pk]))
    assert Client.objects.get(client_id="new").groups.get() == pumps
    valves = ClientGroup.objects.get(name="valves")
    refused = browser.post(f"{ADMIN}client/add/", new_client(client_id="x", groups=[valves.pk]), follow=True)
    assert "not one of the available choices" in refused.content.decode()
    nowhere = browser.post(f"{ADMIN}client/add/", new_client(client_id="x"), follow=True)
    assert "in the groups that you manage only" in nowhere.content.decode()
    assert not Client.objects.filter(client_id="x").exists()


def test_groups_that_he_does_not_manage_stay_as_they_are(bob: User, mine: Client, pumps: ClientGroup) -> None:
    other = GroupFactory(name="other")
    mine.groups.add(other)
    form = {"display_name": "new", "owner": "", "groups": [pumps.pk], "transports": ["tls"]}
    form |= inline("credentials") | inline("rules")
    assert browser_of(bob).post(f"{ADMIN}client/{mine.pk}/change/", form).status_code == 302
    mine.refresh_from_db()
    assert mine.display_name == "new"
    assert set(mine.groups.all()) == {pumps, other}


def test_actions_reach_his_alone(bob: User, mine: Client, theirs: Client) -> None:
    browser = browser_of(bob)
    form = {"action": "disable", "_selected_action": [mine.pk, theirs.pk]}
    browser.post(f"{ADMIN}client/", form)
    mine.refresh_from_db()
    theirs.refresh_from_db()
    assert (mine.enabled, theirs.enabled) == (False, True)
    page = browser.get(f"{ADMIN}client/").content.decode()
    assert 'value="kick"' in page
    assert 'value="ban"' not in page
    browser.post(
        f"{ADMIN}client/", {"action": "delete_selected", "_selected_action": [mine.pk], "post": "yes"}
    )
    assert list(Client.objects.all()) == [theirs]


def test_rules_need_a_right_of_their_own(bob: User, mine: Client, theirs: Client, pumps: ClientGroup) -> None:
    form = {"display_name": "", "owner": "", "groups": [pumps.pk], "transports": ["tls"]} | inline(
        "credentials"
    )
    ClientGroup.objects.filter(pk=pumps.pk).update(namespace=["a", "x", "pumps"])
    form |= inline("rules", rule_row(client=mine.pk, priority=-1))
    browser_of(bob).post(f"{ADMIN}client/{mine.pk}/change/", form)
    assert not mine.rules.exists()
    assign_perm("manage_rules", bob, pumps)
    browser = browser_of(bob)
    browser.post(f"{ADMIN}client/{mine.pk}/change/", form)
    assert mine.rules.count() == 1
    refused = browser.post(f"{ADMIN}aclrule/add/", rule_row(), follow=True).content.decode()
    assert "the rules of the groups that you manage only" in refused
    browser.post(f"{ADMIN}aclrule/add/", rule_row(client=theirs.pk), follow=True)
    assert AclRule.objects.count() == 2


def test_who_may_nothing_sees_nothing(charlie: User, mine: Client) -> None:
    browser = browser_of(charlie)
    assert "mqtt_auth" not in browser.get("/admin/").content.decode()
    for page in (
        "client/",
        f"client/{mine.pk}/change/",
        "client/add/",
        "credential/",
        "clientgroup/",
        "aclrule/",
    ):
        assert browser.get(ADMIN + page).status_code == 403
