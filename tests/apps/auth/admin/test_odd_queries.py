"""Every page of the auth admin, asked odd things: it answers, and never by an error of the server."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import reverse

from tests.apps.auth.admin.pages import browser_of, pages, rows_of_all

pytestmark = pytest.mark.django_db
HUGE = "9" * 30
# The same pages are asked all this on SQLite; what a database itself may refuse is asked on PostgreSQL, too.
POSTGRESQL = bool(os.environ.get("TEST_DATABASE_URL"))
REFUSED_BY_DATABASES = ("%00", HUGE, "%ff", "0001-01-01", "9999-12-31")
OF_LISTS = (
    "q=%00",
    "q=%27",
    "q=%22a",
    "q=" + "x" * 3000,
    "q=%ff%fe",
    "p=999",
    "p=-1",
    "p=x",
    f"p={HUGE}",
    "o=1.2.3",
    "o=99",
    "o=-.x",
    f"o={HUGE}",
    "e=1",
    "all=",
    "_facets=True",
    "nothing=1",
    "id__in=1,2",
    "pk=1",
    "id__exact=abc",
    "secret__startswith=s",
    "groups__id__exact=abc",
    "group__id__exact=abc",
    "roles__id__exact=%00",
    "content_type__id__exact=-1",
    f"groups__id__exact={HUGE}",
    f"group__id__exact={HUGE}",
    f"roles__id__exact={HUGE}",
    f"content_type__id__exact={HUGE}",
    f"reason_code={HUGE}",
    "reason_code=x",
    "node=%00",
    "enabled__exact=x",
    "automatic__exact=%00",
    "kind__exact=x",
    "effect__exact=%00",
    "action__exact=x",
    f"action__exact={HUGE}",
    "last_seen__gte=x",
    "last_seen__gte=0001-01-01+00:00:00%2B14:00",
    "last_seen__isnull=x",
    "groups__isnull=x",
    "created_at__lt=99999-01-01",
    "at__gte=9999-12-31+23:59:59-14:00",
    "timestamp__gte=%00",
)
ANYWHERE = (
    "_popup=1",
    "_to_field=secret",
    "_to_field=id",
    "_changelist_filters=%00%26x",
    "e=1&p=999&q=%00&o=x",
    "client=abc&group=abc&groups=abc&roles=x",
    f"client={HUGE}&group={HUGE}&groups={HUGE}&roles={HUGE}",
    "client=%00&name=%00&priority=x&enabled=x&until=x&transports=%00",
)
ODD_IDS = ("0", "-1", "abc", "1_00", "%00", "1%00", HUGE, "%20", "²", "<script>")
FINE = {200, 302, 400, 403, 404}


@pytest.fixture
def browser(alice: User) -> Browser:
    found = browser_of(alice)
    found.raise_request_exception = False
    return found


@pytest.fixture
def paths(alice: User) -> list[str]:
    """Of every page, with rows behind those that need one."""
    Group.objects.update_or_create(pk=1, defaults={"name": "operators"})
    found = []
    for page, verb, ids in every_page(rows_of_all(), str(alice.pk)):
        found.append(reverse(f"admin:{page}_{verb}", args=ids))
    assert len(found) > 45
    return found


def every_page(rows: dict[str, Any], user: str) -> list[tuple[str, str, list[str]]]:
    more = {"permissions_manage_user": [user], "permissions_manage_group": ["1"]}
    return [
        (
            f"{opts.app_label}_{opts.model_name}",
            verb,
            [*([] if verb in ("changelist", "add", "export_list") else [pk]), *more.get(verb, [])],
        )
        for opts, verbs in pages()
        for pk in [str(rows[opts.model_name].pk)]
        for verb in verbs
    ]


def wrong(browser: Browser, path: str, data: dict[str, Any] | None = None) -> list[tuple[str, Any, int]]:
    page = browser.get(path) if data is None else browser.post(path, data)
    return [(path[:200], data, page.status_code)] if page.status_code not in FINE else []


def test_odd_queries(browser: Browser, paths: list[str]) -> None:
    found = []
    lists = {reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist") for opts, _ in pages()}
    assert lists < set(paths)
    for path in paths:
        for query in (*ANYWHERE, *(OF_LISTS if path in lists else ())):
            if not POSTGRESQL or any(each in query for each in REFUSED_BY_DATABASES):
                found += wrong(browser, f"{path}?{query}")
    assert found == []


def test_odd_ids(browser: Browser, alice: User) -> None:
    found = []
    for page, verb, ids in every_page(rows_of_all(), str(alice.pk)):
        for at in range(len(ids)):
            with_odd = ["ODD" if place == at else pk for place, pk in enumerate(ids)]
            path = reverse(f"admin:{page}_{verb}", args=with_odd)
            for odd in ODD_IDS:
                found += wrong(browser, path.replace("ODD", odd))
            found += wrong(browser, path.replace("ODD", HUGE), {"post": "yes"})
    assert found == []


FIELDS = (
    *("client", "group", "groups", "roles", "priority", "max_qos", "until_0", "until_1", "valid_until_0"),
    *("expires_at_0", "kind", "value", "client_id", "name", "filter", "effect", "action", "transports"),
    *("permissions", "username", "password", "subject", "claim", "display_name", "owner", "seen"),
)
RELATIONS = ("client", "group", "groups", "roles")
COUNTS = [f"{prefix}-{count}_FORMS" for prefix in ("rules", "credentials") for count in ("TOTAL", "INITIAL")]


@pytest.mark.parametrize(
    "value", ["\0", HUGE] if POSTGRESQL else ["", "\0", HUGE, "-1", "x" * 5000, "2020-99-99"]
)
def test_odd_forms(browser: Browser, paths: list[str], value: str) -> None:
    in_rows = [
        f"{prefix}-0-{name}" for prefix in ("rules", "credentials") for name in ("id", "DELETE", *FIELDS)
    ]
    filled = dict.fromkeys(FIELDS, value) | dict.fromkeys(RELATIONS, "")
    forms = [
        dict.fromkeys(FIELDS, value) | dict.fromkeys(COUNTS, value),
        filled | dict.fromkeys(COUNTS, 0),
        {"name": "x", "transports": ["tls"]} | dict.fromkeys(in_rows, value) | dict.fromkeys(COUNTS, 1),
    ]
    for name in RELATIONS:
        forms.append({name: value} | dict.fromkeys(COUNTS, 0))
    acts = [
        {"action": action, "_selected_action": [value, "1"], "index": value, "select_across": value}
        for action in (value, "delete_selected", "rotate", "disable")
    ]
    rights = [
        {"user": value, "group": value, "permissions": value, "submit_manage_user": "1"},
        {"user": value, "group": value, "permissions": value, "submit_manage_group": "1"},
    ]
    found = []
    for path in paths:
        form = path.endswith(("/add/", "/change/"))
        for data in forms if form else rights if "/permissions/" in path else acts:
            found += wrong(browser, path, data)
    assert found == []


@pytest.mark.parametrize("term", ["%00", "%", "'", "x" * 3000])
def test_odd_words_for_autocompletion(browser: Browser, term: str) -> None:
    for model, field in (
        ("aclrule", "client"),
        ("aclrule", "group"),
        ("credential", "client"),
        ("client", "groups"),
    ):
        for page in ("1", "x", HUGE, "-1"):
            query = f"app_label=mqtt_auth&model_name={model}&field_name={field}&term={term}&page={page}"
            assert wrong(browser, f"/admin/autocomplete/?{query}") == []


@pytest.mark.skipif(POSTGRESQL, reason="nothing of it depends on the database")
def test_the_sidebar_links_to_nothing_that_is_refused(browser: Browser, paths: list[str]) -> None:
    for path in paths:
        if path.endswith("/export/"):
            continue
        page = browser.get(path).content.decode()
        for query in set(re.findall(r'<a href="(\?[^"]+)"', page)):
            answer = browser.get(path + query.replace("&amp;", "&"))
            assert answer.status_code == 200, path + query
