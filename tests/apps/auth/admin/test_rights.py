"""Nobody helps himself: to names of groups of others, to rights, or to rows that he may look at alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from guardian.shortcuts import assign_perm, get_perms

from apps.auth.models import AclRule, Client, ClientGroup
from tests.apps.auth.admin.pages import ADMIN, browser_of, inline, pages, rows_of_all, rule_row
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db


def give(user: User, *names: str) -> None:
    found = Permission.objects.filter(codename__in=names)
    assert len(found) == len(names)
    user.user_permissions.add(*found)


# ---------------------------------------------------------------- names


@pytest.fixture
def theirs(pumps: ClientGroup) -> Client:
    """In a group that Bob knows nothing of."""
    ClientFactory(client_id="mine", groups=[pumps])
    return ClientFactory(client_id="foreign-client", groups=[GroupFactory(name="foreign-group")])


def test_groups_of_others_are_named_in_no_filter_and_no_choice(
    bob: User, pumps: ClientGroup, theirs: Client
) -> None:
    assign_perm("manage_rules", bob, pumps)
    browser = browser_of(bob)
    for path in ("client/", "client/add/", "aclrule/", "aclrule/add/", "clientgroup/", "credential/add/"):
        page = browser.get(ADMIN + path)
        assert page.status_code == 200
        assert "foreign" not in page.content.decode(), path
    assert "pumps" in browser.get(f"{ADMIN}client/").content.decode()
    for model, field, found in (
        ("aclrule", "client", ["mine"]),
        ("aclrule", "group", ["pumps"]),
        ("credential", "client", ["mine"]),
    ):
        asked = {"app_label": "mqtt_auth", "model_name": model, "field_name": field, "term": ""}
        answer = browser.get("/admin/autocomplete/", asked).json()
        assert [entry["text"] for entry in answer["results"]] == found


def test_a_form_filled_in_with_the_id_of_another_tells_no_name(
    bob: User, pumps: ClientGroup, theirs: Client
) -> None:
    assign_perm("manage_rules", bob, pumps)
    browser = browser_of(bob)
    other = theirs.groups.get()
    given: list[tuple[str, dict[str, Any]]] = [
        ("aclrule/add/", rule_row(client=theirs.pk)),
        ("aclrule/add/", rule_row(group=other.pk)),
        ("credential/add/", {"client": theirs.pk, "kind": "secret"}),
        ("client/add/", {"client_id": "x", "groups": [other.pk], "transports": ["tls"]}),
    ]
    for path, form in given:
        for page in (browser.get(ADMIN + path, form), browser.post(ADMIN + path, form)):
            assert page.status_code == 200, (path, form)
            assert "foreign" not in page.content.decode(), (path, form)
        assert "Select a valid choice" in page.content.decode()
    assert not AclRule.objects.exists()


def test_credentials_on_the_page_of_a_client_need_a_right_for_this_client(bob: User, theirs: Client) -> None:
    CredentialFactory(client=theirs, username="foreign-name")
    give(bob, "view_client")
    page = browser_of(bob).get(f"{ADMIN}client/{theirs.pk}/change/").content.decode()
    assert "foreign-client" in page
    assert "foreign-name" not in page


# ---------------------------------------------------------------- rights


@pytest.fixture
def pages_of_rights(charlie: User, pumps: ClientGroup) -> list[str]:
    group = Group.objects.create(name="operators")
    charlie.groups.add(group)
    base = f"{ADMIN}clientgroup/{pumps.pk}/permissions/"
    return [f"{base}user-manage/{charlie.pk}/", f"{base}group-manage/{group.pk}/"]


RENAMES = ("view_clientgroup", "change_clientgroup")
HANDS_OUT = ("change_userobjectpermission", "change_groupobjectpermission")


@pytest.mark.parametrize(
    "names",
    [
        RENAMES,
        HANDS_OUT,
        (*RENAMES, HANDS_OUT[0]),
        (*RENAMES, HANDS_OUT[1]),
        ("view_clientgroup", *HANDS_OUT),
    ],
)
def test_who_may_rename_groups_may_not_help_himself_to_their_clients(
    charlie: User, pumps: ClientGroup, pages_of_rights: list[str], names: tuple[str, ...]
) -> None:
    give(charlie, *names)
    browser = browser_of(charlie)
    for path in pages_of_rights:
        assert browser.post(path, {"permissions": ["manage_members", "manage_rules"]}).status_code == 403
    manage = {"submit_manage_user": "1", "user": "charlie"}
    assert browser.post(f"{ADMIN}clientgroup/{pumps.pk}/permissions/", manage).status_code == 403
    assert not get_perms(User.objects.get(pk=charlie.pk), pumps)
    if "view_clientgroup" in names:
        page = browser.get(f"{ADMIN}clientgroup/{pumps.pk}/change/").content.decode()
        assert "Object permissions" not in page


def test_who_may_hand_out_rights_does(charlie: User, pumps: ClientGroup, pages_of_rights: list[str]) -> None:
    give(charlie, *RENAMES, *HANDS_OUT)
    browser = browser_of(charlie)
    assert "Object permissions" in browser.get(f"{ADMIN}clientgroup/{pumps.pk}/change/").content.decode()
    for path, right in zip(pages_of_rights, ("manage_members", "manage_rules"), strict=True):
        assert browser.post(path, {"permissions": [right]}).status_code == 302
    assert set(get_perms(User.objects.get(pk=charlie.pk), pumps)) == {"manage_members", "manage_rules"}


# ---------------------------------------------------------------- actions


@pytest.fixture
def carol(bob: User, pumps: ClientGroup) -> Iterator[User]:
    """As Bob, and she sees the clients of one more group."""
    bob.username = "carol"
    bob.save()
    assign_perm("manage_rules", bob, pumps)
    return bob


def everything() -> dict[str, list[dict[str, Any]]]:
    models = [*apps.get_app_config("mqtt_auth").get_models(), Client.groups.through, LogEntry]
    return {model.__name__: list(model._default_manager.order_by("pk").values()) for model in models}


ACTIONS = {
    "client": ("enable", "disable", "rotate", "kick", "ban", "delete_selected"),
    "credential": ("rotate", "delete_selected"),
    "aclrule": ("delete_selected",),
    "clientgroup": ("delete_selected",),
    "ban": ("delete_selected",),
    "serviceaccount": ("rotate", "delete_selected"),
    "role": ("delete_selected",),
    "refusal": ("delete_selected",),
}


@pytest.mark.parametrize("seen", [True, False])
@pytest.mark.parametrize(
    ("model", "action"), [(model, act) for model, acts in ACTIONS.items() for act in acts]
)
def test_an_action_does_nothing_to_what_one_may_not_change(
    carol: User, pumps: ClientGroup, announced: Announced, model: str, action: str, seen: bool
) -> None:
    """Nor to what else was chosen with it, when she could see it: all or none."""
    rows = rows_of_all()
    rows["client"].enabled = action != "enable"
    rows["client"].save()
    mine = ClientFactory(groups=[pumps], enabled=action != "enable")
    own = {"client": mine, "credential": CredentialFactory(client=mine), "aclrule": RuleFactory(client=mine)}
    if seen:
        assign_perm("view_members", carol, rows["clientgroup"])
    chosen = [rows[model].pk, *([own[model].pk] if seen and model in own else [])]
    browser = browser_of(carol)
    before = everything()
    with announced() as heard:
        for more in ({}, {"post": "yes"}, {"select_across": "1"} if seen else {}):
            browser.post(f"{ADMIN}{model}/", {"action": action, "_selected_action": chosen} | more)
    assert everything() == before
    assert heard == []


def test_every_action_is_in_the_table() -> None:
    for opts, _ in pages():
        known = {*ACTIONS.get(opts.model_name, ()), "export"}
        assert set(admin.site.get_model_admin(opts.model).actions) <= known, opts.model_name


def test_an_export_has_what_one_sees_and_no_more(carol: User, pumps: ClientGroup, theirs: Client) -> None:
    mine = Client.objects.get(client_id="mine")
    form = {"action": "export", "_selected_action": [mine.pk, theirs.pk]}
    sheet = browser_of(carol).post(f"{ADMIN}client/", form).content.decode()
    assert "mine" in sheet
    assert "foreign" not in sheet


# ---------------------------------------------------------------- rules on the pages of others


def test_rules_are_no_form_on_a_page_that_one_may_not_change(bob: User, pumps: ClientGroup) -> None:
    """He may change the group's rules, on pages of their own: the group's page would refuse all of it."""
    assign_perm("manage_rules", bob, pumps)
    rule = RuleFactory(group=pumps, filter="shown")
    browser = browser_of(bob)
    path = f"{ADMIN}clientgroup/{pumps.pk}/change/"
    page = browser.get(path).content.decode()
    assert "shown" in page
    assert 'name="_save"' not in page
    assert browser.post(path, {"name": "x"} | inline("rules", rule_row(group=pumps.pk))).status_code == 403
    assert browser.get(f"{ADMIN}aclrule/{rule.pk}/change/").status_code == 200
    assert list(AclRule.objects.all()) == [rule]
