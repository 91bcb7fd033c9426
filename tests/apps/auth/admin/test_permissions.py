"""Every URL of the auth admin x role -> status of GET and POST. A URL that is not in the table fails.

The POST is empty, so that nothing is changed by it: 200 is a form or a question shown again.
"""

from __future__ import annotations

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group, Permission, User
from django.test import Client as Browser
from django.urls import reverse
from guardian.shortcuts import assign_perm

from apps.auth.models import ClientGroup, Role
from tests.apps.auth.admin.pages import browser_of, pages
from tests.apps.auth.factories import (
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
ROLES = ("anonymous", "no rights", "viewer", "changer", "changer elsewhere", "all permissions", "superuser")
# In the order of ROLES. "login" and "home" are redirects: home, with a message, is Django's answer about a
# row that is not among those that the user sees.
EVERYWHERE = "login 403 403 403 403 200 200"  # no object permission gives it
SEEN = "login 403 200 200 403 200 200"
LISTED = "login 403 200 200 200 200 200"
OPENED = "login 403 200 200 home 200 200"
ADDED = "login 403 403 200 200 200 200"
WRITTEN = "login 403 403 200 home 200 200"
NOBODY = "login 403 403 403 403 403 403"
OF_A_GROUP = {
    "changelist": (LISTED, LISTED),
    "add": (ADDED, ADDED),
    "change": (OPENED, WRITTEN),
    "delete": (WRITTEN, WRITTEN),
    "history": (SEEN, SEEN),
}
OF_ALL = dict.fromkeys(("changelist", "add", "change", "delete", "history"), (EVERYWHERE, EVERYWHERE))
READ_ONLY = OF_ALL | {
    "export_list": (EVERYWHERE, EVERYWHERE),
    "add": (NOBODY, NOBODY),
    "change": (EVERYWHERE, NOBODY),
    "delete": (NOBODY, NOBODY),
}
TABLE: dict[str, dict[str, tuple[str, str]]] = {
    "client": OF_A_GROUP,
    "credential": OF_A_GROUP | {"change": (OPENED, NOBODY)},
    "aclrule": OF_A_GROUP,
    "clientgroup": OF_A_GROUP
    | {
        "add": (EVERYWHERE, EVERYWHERE),
        "change": (OPENED, EVERYWHERE),
        "delete": (EVERYWHERE, EVERYWHERE),
        "permissions": (EVERYWHERE, EVERYWHERE),
        "permissions_manage_user": (EVERYWHERE, EVERYWHERE),
        "permissions_manage_group": (EVERYWHERE, EVERYWHERE),
    },
    "ban": OF_ALL
    | {
        "export_list": (EVERYWHERE, EVERYWHERE),
        "change": (EVERYWHERE, "login 403 403 403 403 302 302"),
    },  # a ban's form may be empty
    "serviceaccount": OF_ALL,
    "role": OF_ALL,
    "refusal": READ_ONLY,
    "logentry": READ_ONLY,
}


@pytest.fixture
def browsers(alice: User, bob: User, charlie: User, pumps: ClientGroup) -> dict[str, Browser]:
    """The viewer and the changer hold object permissions on "pumps"; "elsewhere" is about another group."""
    assign_perm("manage_rules", bob, pumps)
    viewer = UserFactory(is_staff=True)
    assign_perm("view_members", viewer, pumps)
    everything = UserFactory(is_staff=True)
    apps = ("mqtt_auth", "auditlog", "guardian")
    everything.user_permissions.set(Permission.objects.filter(content_type__app_label__in=apps))
    as_bob = browser_of(bob)
    cast = [Browser(headers={"host": "localhost"}), browser_of(charlie), browser_of(viewer), as_bob, as_bob]
    return dict(zip(ROLES, [*cast, browser_of(everything), browser_of(alice)], strict=True))


@pytest.fixture
def rows(pumps: ClientGroup) -> dict[str, tuple[int, int]]:
    """Model -> ids of a row of "pumps" and of one of another group; where groups do not count, the same."""
    other = GroupFactory()
    clients = ClientFactory(groups=[pumps]), ClientFactory(groups=[other])
    made = {
        "client": clients,
        "clientgroup": (pumps, other),
        "credential": [CredentialFactory(client=client) for client in clients],
        "aclrule": [RuleFactory(client=client) for client in clients],
        "ban": [BanFactory()],
        "serviceaccount": [AccountFactory()],
        "role": [Role.objects.create(name="custom")],
        "refusal": [RefusalFactory()],
        "logentry": [LogEntry.objects.latest("pk")],
    }
    return {model: (some[0].pk, some[-1].pk) for model, some in made.items()}


def test_no_url_is_missing() -> None:
    assert {opts.model_name: set(names) for opts, names in pages()} == {
        model: set(verbs) for model, verbs in TABLE.items()
    }


@pytest.mark.parametrize("model", TABLE)
def test_the_table(
    browsers: dict[str, Browser], rows: dict[str, tuple[int, int]], model: str, bob: User
) -> None:
    Group.objects.update_or_create(pk=1, defaults={"name": "operators"})
    app = "auditlog" if model == "logentry" else "mqtt_auth"
    found = {}
    for verb in TABLE[model]:
        got = []
        for method in ("get", "post"):
            for role, browser in browsers.items():
                ids = (
                    []
                    if verb in ("changelist", "add", "export_list")
                    else [rows[model][role == "changer elsewhere"]]
                )
                ids += {"permissions_manage_user": [bob.pk], "permissions_manage_group": [1]}.get(verb, [])
                page = getattr(browser, method)(reverse(f"admin:{app}_{model}_{verb}", args=ids))
                got.append(_named(page.get("Location", "")) or str(page.status_code))
        found[verb] = (" ".join(got[: len(ROLES)]), " ".join(got[len(ROLES) :]))
    assert found == TABLE[model]


def _named(target: str) -> str:
    return "login" if target.startswith("/admin/login/") else "home" if target == "/admin/" else ""
