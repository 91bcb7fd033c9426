"""Every admin page opens, for who may see it, and writes by way of services."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from guardian.shortcuts import get_perms

from apps.auth import passwords, permissions, proofs
from apps.auth.models import AclRule, Ban, Client, ClientGroup, Credential, Refusal, Role, ServiceAccount
from apps.auth.services.accounts import write_builtin_roles
from tests.apps.auth.admin.pages import ADMIN, inline, new_client, rule_row, secrets_in
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import (
    SECRET,
    AccountFactory,
    BanFactory,
    ClientFactory,
    CredentialFactory,
    GroupFactory,
    RefusalFactory,
    RuleFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(alice: User) -> Browser:
    found = Browser(headers={"host": "localhost"})
    found.force_login(alice)
    return found


@pytest.fixture
def roles(db: None) -> None:
    if not Role.objects.exists():
        write_builtin_roles("default")


@pytest.mark.parametrize(
    "model", ["client", "credential", "clientgroup", "aclrule", "ban", "serviceaccount", "role", "refusal"]
)
def test_lists_searches_and_forms_open(browser: Browser, model: str, roles: None) -> None:
    client = ClientFactory(groups=[GroupFactory()])
    rows = {
        "client": client,
        "credential": CredentialFactory(client=client),
        "clientgroup": client.groups.get(),
        "aclrule": RuleFactory(client=client),
        "ban": BanFactory(),
        "serviceaccount": AccountFactory(roles=["viewer"]),
        "role": Role.objects.get(name="viewer"),
        "refusal": RefusalFactory(),
    }
    pk = rows[model].pk
    for query in ("", "?q=%25_%27", "?q=a&o=1"):
        assert browser.get(f"{ADMIN}{model}/{query}").status_code == 200
    page = browser.get(f"{ADMIN}{model}/{pk}/change/")
    assert page.status_code == 200
    assert "sha256$" not in page.content.decode()
    assert browser.get(f"{ADMIN}{model}/add/").status_code == (403 if model == "refusal" else 200)
    if model != "refusal":
        assert browser.get(f"{ADMIN}{model}/{pk}/history/").status_code == 200


def test_the_audit_trail_opens(browser: Browser) -> None:
    client = ClientFactory(client_id="<b>")
    browser.post(f"{ADMIN}client/", {"action": "disable", "_selected_action": client.pk})
    page = browser.get("/admin/auditlog/logentry/?q=alice").content.decode()
    assert "&lt;b&gt;" in page
    history = browser.get(f"{ADMIN}client/{client.pk}/history/").content.decode()
    assert "alice" in history
    assert "enabled" in history
    assert "<b>enabled</b>: True &rarr; False" in history


# ---------------------------------------------------------------- clients


def test_registering_shows_the_secret_once_and_keeps_it_nowhere(
    browser: Browser, announced: Announced
) -> None:
    group = GroupFactory(name="pumps")
    with announced() as heard:
        page = browser.post(f"{ADMIN}client/add/", new_client(groups=[group.pk]))
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    (secret,) = secrets_in(page.content.decode())
    credential = Credential.objects.get(client__client_id="pump-1")
    assert passwords.verify_generated(secret.encode(), [credential.secret])
    assert credential.client.transports == ["tls"]
    assert credential.client.groups.get() == group
    assert heard[0]["what"] == "client"
    assert "messages" not in page.cookies
    for path in ("client/", f"client/{credential.client.pk}/change/", f"credential/{credential.pk}/change/"):
        assert secret not in browser.get(ADMIN + path).content.decode()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"client_id": "taken"}, "already exists"),
        ({"client_id": "a\u0001"}, "may not stand here"),
        ({"client_id": ""}, "required"),
        ({"transports": []}, "required"),
        ({"username": "taken"}, "exists already"),
        ({"password": "short"}, "too short"),
    ],
)
def test_what_cannot_be_registered(browser: Browser, more: dict[str, Any], said: str) -> None:
    CredentialFactory(client=ClientFactory(client_id="taken"), username="taken")
    page = browser.post(f"{ADMIN}client/add/", new_client(**more), follow=True)
    assert page.status_code == 200
    assert said in page.content.decode()
    assert Client.objects.count() == 1


def test_changing_a_client_and_its_rules(browser: Browser, announced: Announced) -> None:
    client = ClientFactory(client_id="a", groups=[GroupFactory()])
    credential = CredentialFactory(client=client)
    kept, changed, gone = (RuleFactory(client=client, filter=name) for name in ("kept", "changed", "gone"))
    new = GroupFactory()
    form = {"display_name": "泵", "owner": "ann", "groups": [new.pk], "transports": ["wss", "tcp"]}
    form |= inline("credentials", {"id": credential.pk, "client": client.pk, "DELETE": "on"}, initial=1)
    form |= inline(
        "rules",
        rule_row(id=kept.pk, client=client.pk, filter="kept"),
        rule_row(id=changed.pk, client=client.pk, filter="changed", priority=7),
        rule_row(id=gone.pk, client=client.pk, filter="gone", DELETE="on"),
        rule_row(client=client.pk, filter="new"),
        initial=3,
    )
    with announced() as heard:
        page = browser.post(f"{ADMIN}client/{client.pk}/change/", form, follow=True)
    assert "changed successfully" in page.content.decode()
    client.refresh_from_db()
    assert (client.display_name, client.enabled, client.transports) == ("泵", False, ["tcp", "wss"])
    assert client.groups.get() == new
    assert not client.credentials.exists()
    assert set(client.rules.values_list("filter", "priority")) == {("kept", 0), ("changed", 7), ("new", 0)}
    assert {message["what"] for message in heard} == {"client", "credentials", "rules"}


def test_actions(browser: Browser, announced: Announced) -> None:
    one, two = ClientFactory(client_id="a"), ClientFactory(client_id="b")
    CredentialFactory(client=one)
    CredentialFactory(client=two)

    def act(action: str, *more: Any) -> Any:
        form = {"action": action, "_selected_action": [one.pk, two.pk]}
        return browser.post(f"{ADMIN}client/", form | dict(more), follow=True)

    for action, what, said in (
        ("disable", "client", "2 disabled"),
        ("enable", "client", "2 enabled"),
        ("kick", "kicked", "2 told to go"),
        ("ban", "bans", "2 banned"),
    ):
        with announced() as heard:
            assert said in act(action).content.decode()
        assert {message["what"] for message in heard} == {what}
    assert Ban.objects.count() == 2
    fresh = secrets_in(act("rotate").content.decode())
    assert len(set(fresh)) == 2
    stored = list(Credential.objects.filter(valid_until=None).values_list("secret", flat=True))
    assert all(passwords.verify_generated(secret.encode(), stored) for secret in fresh)
    assert not passwords.verify_generated(SECRET.encode(), stored)
    sheet = act("export").content.decode()
    assert sheet.startswith("id,client_id")
    assert len(sheet.splitlines()) == 3
    with announced() as heard:
        act("delete_selected", ("post", "yes"))
    assert heard == [{"type": "auth.changed", "what": "unregistered", "client_ids": ["a", "b"]}]
    assert not Client.objects.exists()


def test_rotating_what_has_no_secret_changes_nothing(browser: Browser) -> None:
    one = CredentialFactory(client=ClientFactory(client_id="a"))
    two = ClientFactory(client_id="b")
    form = {"action": "rotate", "_selected_action": [one.client.pk, two.pk]}
    page = browser.post(f"{ADMIN}client/", form, follow=True).content.decode()
    assert "no secret to rotate" in page
    assert Credential.objects.get().secret == one.secret


# ---------------------------------------------------------------- the others


def test_credentials(browser: Browser) -> None:
    client = ClientFactory(client_id="a")
    form = {"client": client.pk, "kind": "secret", "username": "", "password": ""}
    page = browser.post(f"{ADMIN}credential/add/", form)
    (secret,) = secrets_in(page.content.decode())
    assert passwords.verify_generated(secret.encode(), [Credential.objects.get().secret])
    form = {"client": client.pk, "kind": "x509", "subject": "CN=a"}
    assert browser.post(f"{ADMIN}credential/add/", form).status_code == 302
    page = browser.post(f"{ADMIN}credential/add/", form, follow=True).content.decode()
    assert "exist" in page
    one = Credential.objects.get(kind="secret")
    page = browser.post(f"{ADMIN}credential/", {"action": "rotate", "_selected_action": one.pk})
    assert len(secrets_in(page.content.decode())) == 1
    browser.post(f"{ADMIN}credential/{one.pk}/delete/", {"post": "yes"})
    assert not Credential.objects.filter(pk=one.pk).exists()


def test_rules_and_what_can_never_match(browser: Browser) -> None:
    browser.post(f"{ADMIN}aclrule/add/", rule_row(filter="#"))
    page = browser.post(f"{ADMIN}aclrule/add/", rule_row(filter="a/b"), follow=True).content.decode()
    assert "is asked before and matches all that this one does" in page
    wrong = browser.post(f"{ADMIN}aclrule/add/", rule_row(filter="a/#/b"))
    assert "Not a topic filter" in wrong.content.decode()
    assert AclRule.objects.count() == 2
    rule = AclRule.objects.get(filter="a/b")
    browser.post(f"{ADMIN}aclrule/{rule.pk}/change/", rule_row(filter="a/b", priority=3))
    rule.refresh_from_db()
    assert rule.priority == 3


def test_bans(browser: Browser) -> None:
    browser.post(f"{ADMIN}ban/add/", {"kind": "address", "value": "192.0.2.7", "reason": ""})
    ban = Ban.objects.get()
    assert ban.value == "192.0.2.7/32"
    again = browser.post(f"{ADMIN}ban/add/", {"kind": "address", "value": "192.0.2.7"}, follow=True)
    assert "exist" in again.content.decode()
    wrong = browser.post(f"{ADMIN}ban/add/", {"kind": "address", "value": "here"})
    assert "Not an IP address" in wrong.content.decode()
    past = {"until_0": "2000-01-01", "until_1": "00:00"}
    page = browser.post(f"{ADMIN}ban/{ban.pk}/change/", past, follow=True).content.decode()
    assert "in the past" in page
    assert Ban.objects.get().until is None


def test_groups(browser: Browser, announced: Announced) -> None:
    browser.post(f"{ADMIN}clientgroup/add/", {"name": "pumps", "description": ""})
    group = ClientGroup.objects.get()
    ClientFactory(client_id="a", groups=[group])
    with announced() as heard:
        form = {"name": "valves", "description": ""} | inline("rules", rule_row(group=group.pk))
        browser.post(f"{ADMIN}clientgroup/{group.pk}/change/", form)
    assert [message["client_ids"] for message in heard] == [["a"], ["a"]]
    group.refresh_from_db()
    assert (group.name, group.rules.count()) == ("valves", 1)
    browser.post(f"{ADMIN}clientgroup/{group.pk}/delete/", {"post": "yes"})
    assert not ClientGroup.objects.exists()


def test_service_accounts_and_roles(browser: Browser, roles: None) -> None:
    form = {"name": "mine", "description": "", "permissions": [permissions.VIEW_BAN]}
    browser.post(f"{ADMIN}role/add/", form)
    role = Role.objects.get(name="mine")
    assert role.permissions == [permissions.VIEW_BAN]
    page = browser.post(f"{ADMIN}serviceaccount/add/", {"name": "s", "roles": [role.pk], "enabled": "on"})
    (secret,) = secrets_in(page.content.decode())
    account = ServiceAccount.objects.get()
    assert proofs.by_secret(account.access_key, secret).permissions == {permissions.VIEW_BAN}
    page = browser.post(f"{ADMIN}serviceaccount/", {"action": "rotate", "_selected_action": account.pk})
    assert secrets_in(page.content.decode()) != [secret]
    browser.post(f"{ADMIN}serviceaccount/{account.pk}/change/", {"name": "t", "roles": [role.pk]})
    account.refresh_from_db()
    assert (account.name, account.enabled) == ("t", False)
    viewer = Role.objects.get(name="viewer")
    assert browser.post(f"{ADMIN}role/{viewer.pk}/change/", form).status_code == 403
    assert browser.post(f"{ADMIN}role/{viewer.pk}/delete/", {"post": "yes"}).status_code == 403


# ---------------------------------------------------------------- rights of others are audited too


def test_putting_an_operator_in_charge_of_a_group(browser: Browser, api_trail: Any) -> None:
    group, bob = GroupFactory(name="pumps"), UserFactory(username="bob")
    url = f"{ADMIN}clientgroup/{group.pk}/permissions/user-manage/{bob.pk}/"
    assert browser.get(f"{ADMIN}clientgroup/{group.pk}/permissions/").status_code == 200
    page = browser.post(url, {"permissions": ["view_members", "manage_members"]})
    assert page.status_code == 302
    assert set(get_perms(bob, group)) == {"view_members", "manage_members"}
    assert {entry.additional_data["name"] for entry in api_trail("userobjectpermission")} == {"alice"}


@pytest.fixture
def api_trail() -> Any:
    from auditlog.models import LogEntry

    return lambda model: list(LogEntry.objects.filter(content_type__model=model))


def test_long_lists_go_by_key_and_are_exported(browser: Browser) -> None:
    for number in range(60):
        RefusalFactory(client_id=f"=c{number}", reason="-1")
    content = browser.get(ADMIN + "refusal/").content.decode()
    last = Refusal.objects.order_by("-id")[49]
    assert f"?after={last.pk}" in content and f">=c{59}<" in content and ">=c9<" not in content
    assert ">=c9<" in browser.get(f"{ADMIN}refusal/?after={last.pk}").content.decode()
    lines = b"".join(browser.get(ADMIN + "refusal/export/?action__exact=connect")).decode().splitlines()
    assert lines[0].startswith("at,action,client_id")
    assert len(lines) == 1 + Refusal.objects.filter(action="connect").count()
    assert all(",'=c" in line and ",'-1," in line for line in lines[1:])
    audit = b"".join(browser.get("/admin/auditlog/logentry/export/")).decode()
    assert "object_repr" in audit.splitlines()[0]
    BanFactory(value="=cmd")
    assert "'=cmd" in b"".join(browser.get(ADMIN + "ban/export/")).decode()
