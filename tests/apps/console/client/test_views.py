"""/client/ and /client/token/: who gets in, and what a page of another site can do with them."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.test import Client

TOKEN = "/client/token/"


@pytest.fixture
def alice(db: None) -> User:
    return User.objects.create_user("alice", is_staff=True, is_superuser=True)


@pytest.fixture
def charlie(db: None) -> User:
    return User.objects.create_user("charlie", is_staff=True)


@pytest.fixture
def mallory(db: None) -> User:
    """May do everything, but is no operator."""
    return User.objects.create_user("mallory", is_superuser=True)


@pytest.fixture
def guarded(settings: Any) -> None:
    auth = dataclasses.replace(settings.GMQTT.auth, client=("django",), acl=("django",))
    settings.GMQTT = dataclasses.replace(settings.GMQTT, auth=auth)


def browser(user: User | None = None, **more: Any) -> Client:
    client = Client(headers={"host": "localhost"}, enforce_csrf_checks=True, **more)
    if user is not None:
        client.force_login(user)
    return client


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this machine has Node.js is not what is tested here."""
    monkeypatch.setattr(finders, "find", lambda path: f"/somewhere/{path}")


def ask(client: Client, body: object = None, csrf: bool = True) -> Any:
    """POST as the page would."""
    headers = {}
    if csrf:
        page = client.get("/client/").content.decode()
        found = re.search(r'data-csrf="([^"]*)"', page)
        headers = {"X-CSRFToken": found[1] if found else ""}
    raw = body if isinstance(body, bytes) else json.dumps({} if body is None else body)
    return client.post(TOKEN, raw, content_type="application/json", headers=headers)


def test_an_operator_gets_a_token(alice: User) -> None:
    answer = ask(browser(alice))
    assert answer.status_code == 200
    found = answer.json()
    assert found["client_id"].startswith("console-alice-")
    assert (found["username"], found["expires_in"], found["left_out"]) == ("alice", 600, 0)
    assert answer["Cache-Control"].startswith("max-age=0, no-cache, no-store")


def test_another_site_gets_none(alice: User) -> None:
    client = browser(alice)
    client.get("/client/")
    assert ask(client, csrf=False).status_code == 403
    assert client.get(TOKEN).status_code == 405
    assert client.get("/client/").cookies["csrftoken"]["samesite"] == "Strict"


def test_without_permission_or_sign_in_there_is_none(charlie: User, mallory: User) -> None:
    answer = ask(browser(charlie))
    assert (answer.status_code, answer.json()) == (403, {"error": "forbidden"})
    for user in (None, mallory):
        client = Client(headers={"host": "localhost"})  # without the CSRF check, which comes first
        if user:
            client.force_login(user)
        answer = client.post(TOKEN, "{}", content_type="application/json")
        assert (answer.status_code, answer.json()) == (401, {"error": "sign_in"})


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"client_id": 1}', b"\xff", b" " * 5000])
def test_a_malformed_request(alice: User, body: bytes) -> None:
    answer = ask(browser(alice), body)
    assert (answer.status_code, answer.json()) == (400, {"error": "malformed"})


def test_the_page_is_for_operators_where_mqtt_is_not_for_all(
    alice: User, mallory: User, guarded: None
) -> None:
    assert browser(alice).get("/client/").status_code == 200
    for user in (None, mallory):
        answer = browser(user).get("/client/?topics=a&next=//evil.example")
        assert answer.status_code == 302
        assert answer["Location"] == "/admin/login/?next=/client/%3Ftopics%3Da%26next%3D//evil.example"


@pytest.mark.django_db
def test_visitors_get_the_page_where_mqtt_is_for_all() -> None:
    answer = browser().get("/client/")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert 'data-operator=""' in page
    assert 'data-csrf=""' in page
    assert "csrftoken" not in answer.cookies


def test_the_policy_lets_nothing_in(alice: User) -> None:
    answer = browser(alice).get("/client/?topics=<script>alert(1)</script>&x=%22onload=1")
    policy = dict(part.split(" ", 1) for part in answer["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert {policy[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    page = answer.content.decode()
    assert "alert(1)" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|style=", page)
    assert answer["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("query", "site", "connects"),
    [
        ("?connect=operator", "same-origin", True),
        ("?connect=operator", "cross-site", False),
        ("?connect=operator", "same-site", False),
        ("?connect=operator", "none", False),
        ("?connect=operator", None, False),
        ("", "same-origin", False),
    ],
)
def test_only_our_own_links_connect_at_once(
    alice: User, query: str, site: str | None, connects: bool
) -> None:
    headers = {"Sec-Fetch-Site": site} if site else {}
    page = browser(alice).get(f"/client/{query}", headers=headers).content.decode()
    assert ('data-connect="operator"' in page) is connects


@pytest.mark.django_db
def test_without_the_bundle_the_page_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finders, "find", lambda path: None)
    answer = browser().get("/client/")
    assert answer.status_code == 503
    page = answer.content.decode()
    for words in ("Node.js", "make webclient", "apt-get install nodejs npm", "网页客户端尚未构建"):
        assert words in page
