"""Names full of markup, formulas in exports, and queries that ask for what the pages do not show."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote

import pytest
from auditlog.models import LogEntry
from django.contrib.admin.models import LogEntry as OwnLog
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client as Browser
from django.urls import reverse
from django.utils.html import escape

from apps.auth.models import Client, Credential, Role
from tests.apps.auth.admin.pages import ADMIN, browser_of, inline, new_client, pages, rule_row, secrets_in
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
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(alice: User) -> Browser:
    return browser_of(alice)


HOSTILE = {
    "markup": "<script>alert(1)</script>",
    "an attribute": "\"' onmouseover=alert(1) x=<b>",
    "a template": "{{7919*7919}}{% now 'Y' %}${7919*7919}",
    "right to left": "\u05d0\u200fb\u200ec\u061cd",
    "long": "n" * 200,
}


@pytest.mark.parametrize("evil", HOSTILE.values(), ids=HOSTILE)
def test_names_are_shown_as_text(browser: Browser, evil: str) -> None:
    group = GroupFactory(name=evil.translate(str.maketrans("/$", "||")))  # no level of a topic filter
    client = ClientFactory(client_id=evil, display_name=evil, owner=evil, groups=[group])
    shown = [
        client,
        group,
        RuleFactory(client=client, filter=evil, note=evil),
        CredentialFactory(client=client, username=evil),
        BanFactory(value=evil, reason=evil),
        AccountFactory(name=evil, description=evil),
        Role.objects.create(name=evil[:64], description=evil),
        RefusalFactory(client_id=evil, username=evil, reason=evil, topic=evil),
    ]
    paths = [
        "/admin/auditlog/logentry/",
        f"/admin/auditlog/logentry/{LogEntry.objects.latest('pk').pk}/change/",
    ]
    for row in shown:
        base = f"{ADMIN}{row._meta.model_name}/"
        paths += [base, f"{base}?q={quote(evil)}", f"{base}{row.pk}/change/"]
        if row is not shown[-1]:
            paths += [f"{base}{row.pk}/delete/", f"{base}{row.pk}/history/"]
    paths.append(f"{ADMIN}clientgroup/{group.pk}/permissions/")
    for path in paths:
        page = browser.get(path)
        assert page.status_code == 200, path
        _harmless(page.content.decode(), evil)
    for action in ("rotate", "disable", "ban", "kick", "delete_selected"):
        form = {"action": action, "_selected_action": client.pk}
        _harmless(browser.post(f"{ADMIN}client/", form, follow=True).content.decode(), evil)
    page = browser.post(f"{ADMIN}client/add/", new_client(client_id=evil, username=evil))
    assert "already exists" in page.content.decode()
    _harmless(page.content.decode(), evil)
    page = browser.post(f"{ADMIN}client/add/", new_client(client_id="!" + evil))
    assert escape("!" + evil) in page.content.decode()
    _harmless(page.content.decode(), evil)


def _harmless(page: str, evil: str) -> None:
    """Autocompletion, too, has its texts in attributes and in JSON."""
    if escape(evil) != evil:
        assert evil not in page
    assert str(7919 * 7919) not in page
    assert "<script>alert" not in page
    tags = _Tags()
    tags.feed(page)
    assert "onmouseover" not in tags.attributes


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.update(name for name, _ in attrs)


@pytest.mark.parametrize("mark", ["\u202e", "\u202a", "\u2066", "\u2069"])
def test_what_turns_the_text_after_it_around_is_refused(browser: Browser, mark: str) -> None:
    page = browser.post(f"{ADMIN}client/add/", new_client(client_id=f"{mark}1-pmup"))
    assert f"U+{ord(mark):04X} may not stand here" in page.content.decode()
    assert not Client.objects.exists()


def test_a_spreadsheet_computes_nothing_of_an_export(browser: Browser) -> None:
    client = ClientFactory(client_id="=1+1", display_name="@SUM(A1)", owner="-2")
    page = browser.post(f"{ADMIN}client/", {"action": "export", "_selected_action": client.pk})
    assert page["Content-Disposition"].startswith("attachment")
    (row,) = csv.DictReader(io.StringIO(page.content.decode()))
    assert (row["client_id"], row["display_name"], row["owner"]) == ("'=1+1", "'@SUM(A1)", "'-2")
    assert not {"secret", "scram", "password"} & set(row)


@pytest.mark.parametrize(("typed", "found"), [("%", 1), ("_", 1), ("100%", 1), ("e", 2), ("\\", 0)])
def test_wildcards_of_sql_stand_for_themselves(browser: Browser, typed: str, found: int) -> None:
    for name in ("one", "two", "100% red_e", "100 e"):
        ClientFactory(client_id=name)
    page = browser.get(f"{ADMIN}client/", {"q": typed}).content.decode()
    wanted = {"e": 3}.get(typed, found)
    assert page.count('name="_selected_action"') == wanted


def test_no_query_tells_a_stored_secret(browser: Browser) -> None:
    credential, account = CredentialFactory(scram="SCRAM-SHA-256$x"), AccountFactory()
    for path in (
        f"credential/?secret__startswith={credential.secret[:9]}",
        "credential/?scram__startswith=SCRAM",
        f"serviceaccount/?secret__startswith={account.secret[:9]}",
        "serviceaccount/?signing_key__regex=.",
        "client/?credentials__secret__startswith=s",
        "aclrule/?client__credentials__scram__startswith=S",
    ):
        assert browser.get(ADMIN + path).status_code == 400, path


def test_stored_secrets_are_on_no_page(browser: Browser) -> None:
    credential, account = CredentialFactory(scram="SCRAM-SHA-256$x"), AccountFactory()
    hidden = (SECRET, credential.secret, credential.scram, account.secret, account.signing_key)
    for base in (
        f"client/{credential.client.pk}/",
        f"credential/{credential.pk}/",
        f"serviceaccount/{account.pk}/",
    ):
        for verb in ("change", "history", "delete"):
            page = browser.get(f"{ADMIN}{base}{verb}/").content.decode()
            assert not [value for value in hidden if value in page], base + verb


def test_numbers_that_no_database_holds(browser: Browser) -> None:
    huge = "9" * 30
    client = ClientFactory()
    for path in (
        f"client/?groups__id__exact={huge}",
        f"client/?groups__id__in={huge}",
        f"client/?enabled__in={huge}",
        f"aclrule/?max_qos__in={huge}",
        f"refusal/?reason_code__in={huge}",
        f"client/?p={huge}",
        f"client/?o={huge}",
    ):
        assert browser.get(ADMIN + path, follow=True).status_code in (200, 400), path
    page = browser.post(f"{ADMIN}client/", {"action": "disable", "_selected_action": huge}, follow=True)
    assert "not in this list" in page.content.decode()
    page = browser.post(f"{ADMIN}client/add/", new_client(groups=[huge]), follow=True)
    assert page.status_code == 200
    form = {"display_name": "", "owner": "", "transports": ["tls"]} | inline("credentials")
    form |= inline("rules", rule_row(client=client.pk, priority=huge))
    assert browser.post(f"{ADMIN}client/{client.pk}/change/", form).status_code == 200


def test_a_new_secret_is_shown_once(browser: Browser, announced: Announced, caplog: Any) -> None:
    """Not on a page, in history, the audit trail or a log, nor where messages are kept (session, cookie)."""
    client = ClientFactory(client_id="a")
    credential = CredentialFactory(client=client)
    account = AccountFactory()
    made = []
    with caplog.at_level("DEBUG"), announced() as heard:
        for path, form in (
            ("client/add/", new_client(client_id="b")),
            ("client/", {"action": "rotate", "_selected_action": client.pk}),
            ("credential/", {"action": "rotate", "_selected_action": credential.pk}),
            ("credential/add/", {"client": client.pk, "kind": "secret", "username": "c"}),
            ("serviceaccount/add/", {"name": "new", "enabled": "on"}),
            ("serviceaccount/", {"action": "rotate", "_selected_action": account.pk}),
        ):
            credential = Credential.objects.filter(valid_until=None).latest("pk")
            if path == "credential/":
                form["_selected_action"] = credential.pk
            page = browser.post(ADMIN + path, form)
            assert "no-store" in page["Cache-Control"], path
            made += secrets_in(page.content.decode())
    assert len(set(made)) == 6
    everywhere = [caplog.text, repr(heard), repr(dict(browser.session)), repr(browser.cookies)]
    everywhere += [repr(row) for model in (LogEntry, OwnLog, Session) for row in model.objects.values()]
    for opts, verbs in pages():
        for row in opts.model._default_manager.all():
            paths = [reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")]
            for verb in {"change", "history", "delete"} & set(verbs):
                paths.append(reverse(f"admin:{opts.app_label}_{opts.model_name}_{verb}", args=[row.pk]))
            everywhere += [browser.get(path).content.decode() for path in paths]
    assert not [text[:200] for text in everywhere for secret in made if secret in text]
