"""The console's lists: who sees them, what they show, and how much they read."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from guardian.shortcuts import assign_perm

from tests.apps.auth.factories import ClientFactory, GroupFactory
from tests.apps.cluster.factories import DropFactory, NodeFactory, SessionFactory, SubscriptionFactory

pytestmark = pytest.mark.django_db
PERMISSIONS = {
    "sessioninfo": "view_sessioninfo",
    "subscriptioninfo": "view_subscriptioninfo",
    "drop": "view_drop",
    "clusternode": "view_clusternode",
    "sessioninfo/publish": "publish_message",
    "sessioninfo/retained": "view_retained",
    "sessioninfo/traces": "trace",
}
EVIL = "<script>alert(1)</script>{{7*7}}"


def browser(*permissions: str, staff: bool = True) -> Browser:
    user = User.objects.create_user("someone", is_staff=staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    found = Browser(headers={"host": "localhost"})
    found.force_login(user)
    return found


def text(page: Browser, path: str) -> str:
    answer = page.get(f"/admin/cluster/{path}")
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


@pytest.mark.parametrize("page", PERMISSIONS)
def test_each_page_has_its_permission(page: str) -> None:
    NodeFactory()
    others = [name for name in PERMISSIONS.values() if name != PERMISSIONS[page]]
    assert Browser(headers={"host": "localhost"}).get(f"/admin/cluster/{page}/").status_code == 302
    assert browser(*others).get(f"/admin/cluster/{page}/").status_code == 403
    User.objects.all().delete()
    assert browser(PERMISSIONS[page]).get(f"/admin/cluster/{page}/").status_code == 200


def test_pages_follow_each_other_by_key() -> None:
    for number in range(120):
        SessionFactory(client_id=f"c{number:03d}")
    page = browser("view_sessioninfo")
    seen: list[str] = []
    path = "sessioninfo/"
    for _ in range(3):
        content = text(page, path)
        seen += [name for name in (f"c{n:03d}" for n in range(120)) if f">{name}<" in content]
        path = f"sessioninfo/?after={seen[-1]}"
    assert seen == [f"c{number:03d}" for number in range(120)]
    assert "Next page" in text(page, "sessioninfo/") and "Next page" not in text(
        page, "sessioninfo/?after=c100"
    )


@pytest.mark.parametrize("path", ("sessioninfo/", "subscriptioninfo/", "drop/"))
def test_nothing_is_counted(path: str) -> None:
    for _ in range(60):
        SessionFactory()
        SubscriptionFactory()
        DropFactory()
    page = browser("view_sessioninfo", "view_subscriptioninfo", "view_drop")
    with CaptureQueriesContext(
        connection,
    ) as queries:
        text(page, path)
    table = f'"cluster_{path.strip("/")}"'
    about = [query["sql"] for query in queries if f"FROM {table}" in query["sql"]]
    assert about and all("COUNT(" not in sql and ("LIMIT" in sql or "EXISTS" in sql) for sql in about), about


def test_an_operator_of_one_group_sees_its_clients_only() -> None:
    group, other = GroupFactory(), GroupFactory()
    for name, of in (("mine", group), ("theirs", other)):
        ClientFactory(client_id=name).groups.add(of)
        SessionFactory(client_id=name)
        SubscriptionFactory(client_id=name)
        DropFactory(client_id=name)
    page = browser()
    assign_perm("view_members", User.objects.get(), group)
    for path in ("sessioninfo/", "subscriptioninfo/", "drop/"):
        content = text(page, path)
        assert "mine" in content and "theirs" not in content
    assert "theirs" not in b"".join(page.get("/admin/cluster/sessioninfo/export/")).decode()


@pytest.mark.parametrize(
    "query",
    (
        "?after=%00",
        "?online__exact=x",
        "?node__regex=(a",
        "?q=%00",
        "?level=9e9",
        "?username__gt=a",
        "?p=9",
    ),
)
def test_odd_queries(query: str) -> None:
    SessionFactory()
    page = browser("view_sessioninfo", "view_drop")
    assert page.get(f"/admin/cluster/sessioninfo/{query}").status_code in (200, 302, 400)
    assert page.get("/admin/cluster/drop/?after=abc").status_code in (302, 400)


def test_hostile_names_are_shown_as_they_are() -> None:
    row = SessionFactory(client_id=EVIL, username=EVIL, reason=EVIL)
    SubscriptionFactory(client_id=EVIL, filter=EVIL)
    DropFactory(client_id=EVIL, topic=EVIL, reason="queue_full")
    page = browser("view_sessioninfo", "view_subscriptioninfo", "view_drop")
    for path in ("sessioninfo/", f"sessioninfo/{row.pk}/change/", "subscriptioninfo/", "drop/"):
        content = text(page, path)
        assert EVIL not in content and "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in content


def test_exports_run_nothing() -> None:
    SessionFactory(client_id="=cmd|'/c calc'!A1", username="+1")
    answer = browser("view_sessioninfo").get("/admin/cluster/sessioninfo/export/")
    lines = b"".join(answer).decode().splitlines()  # type: ignore[arg-type]
    assert lines[1].startswith("\"'=cmd" if '"' in lines[1][:1] else "'=cmd") and ",'+1," in lines[1]


def test_who_would_receive(settings: Any) -> None:
    SubscriptionFactory(client_id="a", filter="x/+")
    SubscriptionFactory(client_id="b", filter="x/#", share="g")
    SubscriptionFactory(client_id="c", filter="y/+")
    page = browser("view_subscriptioninfo")
    content = text(page, "subscriptioninfo/recipients/?topic=x/1")
    assert "<td>a</td>" in content and "<td>b</td>" in content and "<td>c</td>" not in content
    assert 'role="alert"' in text(page, "subscriptioninfo/recipients/?topic=x/%23")


FILTERS = [
    ("sessioninfo", "online__exact", "1", {"online": True}, {"online": False}),
    ("sessioninfo", "node", "test", {"node": "test"}, {"node": "other"}),
    ("sessioninfo", "transport", "ws", {"transport": "ws"}, {"transport": "tcp"}),
    ("sessioninfo", "level", "5", {"level": 5}, {"level": 4}),
    ("subscriptioninfo", "qos", "2", {"qos": 2}, {"qos": 1}),
    ("subscriptioninfo", "node", "test", {"node": "test"}, {"node": "other"}),
    ("drop", "direction__exact", "in", {"direction": "in"}, {"direction": "out"}),
    ("drop", "node", "test", {"node": "test"}, {"node": "other"}),
    ("clusternode", "state__exact", "up", {"state": "up"}, {"state": "down"}),
]
FACTORIES = {
    "sessioninfo": SessionFactory,
    "subscriptioninfo": SubscriptionFactory,
    "drop": DropFactory,
    "clusternode": NodeFactory,
}


@pytest.mark.parametrize(("page", "name", "value", "wanted", "other"), FILTERS)
def test_filters(page: str, name: str, value: str, wanted: dict[str, Any], other: dict[str, Any]) -> None:
    if page != "clusternode":
        NodeFactory(name="test")
    rows = [FACTORIES[page](**wanted), FACTORIES[page](**other)]
    answer = browser(PERMISSIONS[page]).get(f"/admin/cluster/{page}/", {name: value})
    assert answer.status_code == 200
    assert [row.pk for row in answer.context["cl"].result_list] == [rows[0].pk]


@pytest.mark.parametrize("client_id", ["a&b=c", "a/b+c#d", "50%", "ä ö"])
def test_a_subscription_leads_to_its_client(client_id: str) -> None:
    """Whatever its id has in it."""
    NodeFactory()
    SubscriptionFactory(client_id=client_id)
    page = text(browser("view_subscriptioninfo"), "subscriptioninfo/")
    assert f'sessioninfo/?{urlencode({"client_id": client_id})}"' in page
