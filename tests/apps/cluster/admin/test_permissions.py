"""Every URL of the cluster's and the console's admin x role -> status of GET and POST.

A URL that is not in the table fails. The POST is empty, so that nothing is changed by it: 200 is a form shown
again, "home" and "list" are redirects there, "login" is one to the login page.
"""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import URLPattern, reverse

from apps.cluster.models import ClusterNode, ExportRule
from apps.console import roles
from tests.apps.cluster.admin.pages import row
from tests.apps.cluster.factories import DropFactory, SubscriptionFactory
from tests.apps.cluster.support.running import RunningNode

pytestmark = pytest.mark.django_db(transaction=True)
ROLES: Final = ("anonymous", "not staff", "no rights", "viewer", "operator", "security", "administrator")
SEEN = "login login 403 200 200 200 200"
NOT_SECURITY = "login login 403 200 200 403 200"
OPERATORS = "login login 403 403 200 403 200"
ADMINISTRATORS = "login login 403 403 403 403 200"
NOBODY = "login login 403 403 403 403 403"
NO_PAGE = "login login list list list list list"
OF_ROWS: Final = {
    "changelist": (SEEN, SEEN),
    "export_list": (SEEN, SEEN),
    "add": (NOBODY, NOBODY),
    "delete": (NOBODY, NOBODY),
    "history": ("login login home 200 200 200 200",) * 2,
}
# Who may not see a row is told that it is gone; an empty POST names no verb of the page.
WITH_PAGE: Final = OF_ROWS | {
    "change": ("login login list 200 200 200 200", "login login list 403 403 403 403")
}
WITHOUT_PAGE: Final = OF_ROWS | {"change": (NO_PAGE, NO_PAGE)}
DROPS: Final = WITHOUT_PAGE | {
    "changelist": (NOT_SECURITY, NOT_SECURITY),
    "export_list": (NOT_SECURITY, NOT_SECURITY),
    "history": ("login login home 200 200 home 200",) * 2,
}
VERBS: Final = ("changelist", "add", "change", "delete", "history")
TABLE: Final[dict[str, tuple[str, str]]] = {
    **{f"cluster_clusternode_{verb}": found for verb, found in WITH_PAGE.items()},
    **{f"cluster_sessioninfo_{verb}": found for verb, found in WITH_PAGE.items()},
    **{f"cluster_subscriptioninfo_{verb}": found for verb, found in WITHOUT_PAGE.items()},
    **{f"cluster_drop_{verb}": found for verb, found in DROPS.items()},
    **{f"cluster_exportrule_{verb}": (OPERATORS, OPERATORS) for verb in VERBS},
    **{f"auth_{model}_{verb}": (ADMINISTRATORS,) * 2 for model in ("user", "group") for verb in VERBS},
    "cluster_exportrule_export_list": (OPERATORS, OPERATORS),
    "auth_user_password_change": (ADMINISTRATORS, ADMINISTRATORS),
    "cluster_subscriptioninfo_recipients": (SEEN, SEEN),
    "cluster_session_now": ("login login 404 503 503 503 503",) * 2,  # the client is not connected
    "cluster_publish": (OPERATORS, OPERATORS),
    "cluster_retained": (OPERATORS, "login login 403 403 302 403 302"),
    "cluster_retained_export": (OPERATORS, OPERATORS),
    "cluster_traces": (OPERATORS, OPERATORS),
    "cluster_trace": (OPERATORS, OPERATORS),
    "cluster_topics": (SEEN, SEEN),
    "cluster_slow": (SEEN, SEEN),
    "cluster_kafka": (SEEN, SEEN),
    "cluster_configuration": (OPERATORS, "login login 403 403 403 403 302"),
}


def urls(page: Any) -> dict[str, URLPattern]:
    return {url.name: url for url in page.get_urls() if getattr(url, "name", None)}


def of_the_apps() -> dict[str, URLPattern]:
    found: dict[str, URLPattern] = {}
    for page in admin.site._registry.values():
        if type(page).__module__.startswith(("apps.cluster", "apps.console")):
            found |= urls(page)
    return found


@pytest.fixture
def browsers() -> dict[str, Browser]:
    roles.create()
    found = {"anonymous": Browser(headers={"host": "localhost"})}
    for name in ROLES[1:]:
        user = User.objects.create_user(name, is_staff=name != "not staff")
        user.groups.set(Group.objects.filter(name=name))
        found[name] = Browser(headers={"host": "localhost"})
        found[name].force_login(user)
    return found


def statuses(browsers: dict[str, Browser], method: str, url: str) -> str:
    found = []
    for browser in browsers.values():
        answer = getattr(browser, method)(url)
        found.append(_named(answer.get("Location", "")) or str(answer.status_code))
    return " ".join(found)


def _named(target: str) -> str:
    if target.startswith("/admin/login/"):
        return "login"
    if target == "/admin/":
        return "home"
    return "list" if re.fullmatch(r"/admin/\w+/\w+/", target) else ""


def test_the_table(node: RunningNode, browsers: dict[str, Browser]) -> None:
    rows = {
        "clusternode": ClusterNode.objects.get().pk,
        "sessioninfo": row("c").pk,
        "subscriptioninfo": SubscriptionFactory().pk,
        "drop": DropFactory().pk,
        "exportrule": ExportRule.objects.create(filter="a", kafka_topic="k").pk,
        "user": User.objects.get(username="viewer").pk,
        "group": Group.objects.get(name="viewer").pk,
    }
    found: dict[str, tuple[str, str]] = {}
    for name, url in of_the_apps().items():
        arguments = []
        if url.pattern.converters:
            model = name.split("_")[1]
            arguments = ["0" * 16] if name == "cluster_trace" else [rows.get(model, rows["sessioninfo"])]
        target = reverse(f"admin:{name}", args=arguments)
        found[name] = (statuses(browsers, "get", target), statuses(browsers, "post", target))
    assert found == TABLE
