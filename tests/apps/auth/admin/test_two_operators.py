"""Two operators at one row: nobody's change is lost without a word."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

from apps.auth.models import AclRule, Ban, Client, ClientGroup, Role, ServiceAccount
from tests.apps.auth.admin.pages import ADMIN, browser_of, inline, rule_row
from tests.apps.auth.factories import AccountFactory, BanFactory, ClientFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db
NO_INLINES = inline("credentials") | inline("rules")


@pytest.fixture
def browser(alice: User) -> Browser:
    return browser_of(alice)


def seen(browser: Browser, path: str) -> str:
    (found,) = re.findall(r'name="seen" value="(\w+)"', browser.get(ADMIN + path).content.decode())
    return found


def rows() -> list[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Row, what the first operator writes, what the second has typed."""
    return [
        (
            ClientFactory(),
            {"owner": "first"},
            {"display_name": "second", "owner": "", "transports": ["tls"]} | NO_INLINES,
        ),
        (GroupFactory(), {"description": "first"}, {"name": "second", "description": ""} | inline("rules")),
        (RuleFactory(), {"priority": 1}, rule_row(filter="second")),
        (BanFactory(), {"reason": "first"}, {"reason": "second"}),
        (AccountFactory(), {"description": "first"}, {"name": "second", "description": ""}),
        (Role.objects.create(name="r"), {"description": "first"}, {"name": "second", "description": ""}),
    ]


def test_a_page_that_is_out_of_date_is_refused(browser: Browser) -> None:
    for row, first, typed in rows():
        path = f"{row._meta.model_name}/{row.pk}/change/"
        before = seen(browser, path)
        type(row).objects.filter(pk=row.pk).update(**first)
        page = browser.post(ADMIN + path, typed | {"seen": before})
        assert page.status_code == 200, path
        assert "Somebody changed this after you opened the page" in page.content.decode(), path
        assert "second" in page.content.decode(), "what was typed is not lost either"
        row.refresh_from_db()
        assert {name: getattr(row, name) for name in first} == first
        again = browser.post(ADMIN + path, typed | {"seen": seen(browser, path)})
        assert again.status_code == 302, path


def test_a_rule_that_changed_meanwhile_counts_for_the_page_that_holds_it(browser: Browser) -> None:
    client = ClientFactory()
    rule = RuleFactory(client=client, filter="old")
    path = f"client/{client.pk}/change/"
    typed = {"display_name": "", "owner": "", "transports": ["tls"], "seen": seen(browser, path)}
    row = rule_row(id=rule.pk, client=client.pk, filter="mine")
    browser.post(f"{ADMIN}aclrule/{rule.pk}/change/", rule_row(client=client.pk, filter="theirs"))
    page = browser.post(ADMIN + path, typed | inline("credentials") | inline("rules", row, initial=1))
    assert "Somebody changed this" in page.content.decode()
    rule.refresh_from_db()
    assert rule.filter == "theirs"


def test_what_the_platform_notes_is_no_change(browser: Browser) -> None:
    from apps.auth.services import clients

    client = ClientFactory(client_id="a")
    path = f"client/{client.pk}/change/"
    typed = {"display_name": "x", "owner": "", "transports": ["tls"], "seen": seen(browser, path)}
    clients.seen(["a"], client.created_at)
    assert browser.post(ADMIN + path, typed | NO_INLINES).status_code == 302


@pytest.mark.parametrize("verb", ["change", "delete"])
def test_what_is_gone_is_told(browser: Browser, verb: str) -> None:
    for row, _, typed in rows():
        path = f"{ADMIN}{row._meta.model_name}/{row.pk}/{verb}/"
        type(row).objects.filter(pk=row.pk).delete()
        page = browser.post(path, typed | {"post": "yes"}, follow=True)
        assert page.status_code == 200
        assert "Perhaps it was deleted?" in page.content.decode()
    for model in (Client, ClientGroup, AclRule, Ban, ServiceAccount):
        assert not model.objects.exists()
