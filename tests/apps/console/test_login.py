"""Login: a second factor, and no guessing."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client as Browser
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from apps.console import roles, twofactor

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def fresh() -> None:
    roles.create()
    caches["axes"].clear()


@pytest.fixture
def user() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


def login(page: Browser, password: str = PASSWORD, token: str = "", name: str = "ada") -> int:
    form = {"username": name, "password": password, "otp_token": token, "next": "/admin/"}
    return page.post("/admin/login/", form).status_code


def browser() -> Browser:
    return Browser(headers={"host": "localhost"})


def code(user: User, ahead: int = 0) -> str:
    """Of the user's authenticator; a code works once, so the second needs the next step."""
    device = TOTPDevice.objects.get(user=user)
    return f"{totp(device.bin_key, t0=device.t0, drift=ahead):06d}"


def enrol(page: Browser, user: User) -> list[str]:
    assert "data:image/svg" in page.get("/admin/two-factor/").content.decode()
    answer = page.post("/admin/two-factor/", {"token": code(user)}).content.decode()
    return re.findall(r"^[a-z2-7]{8}$", answer.replace("<pre>", "\n").replace("</pre>", "\n"), re.MULTILINE)


def test_set_up_then_asked_for(user: User) -> None:
    page = browser()
    assert login(page) == 302
    codes = enrol(page, user)
    assert len(codes) == twofactor.RECOVERY_CODES
    assert page.get("/admin/").status_code == 200  # who has just set it up goes on
    other = browser()
    assert login(other) == 200 and other.get("/admin/").status_code == 302
    assert login(other, token=codes[0]) == 302 and other.get("/admin/").status_code == 200
    assert login(browser(), token=codes[0]) == 200  # each works once
    assert login(browser(), token="000000") == 200


def test_a_wrong_code_sets_nothing_up(user: User) -> None:
    page = browser()
    login(page)
    page.get("/admin/two-factor/")
    assert "wrong" in page.post("/admin/two-factor/", {"token": "000000"}).content.decode()
    assert not twofactor.enrolled(user)


def test_taking_it_away_needs_the_password(user: User) -> None:
    page = browser()
    login(page)
    enrol(page, user)
    page.post("/admin/two-factor/", {"remove": "1", "password": "wrong"})
    assert twofactor.enrolled(user)
    page.post("/admin/two-factor/", {"remove": "1", "password": PASSWORD})
    assert not twofactor.enrolled(user)


def test_a_session_without_its_second_factor_may_nothing(user: User) -> None:
    """As one that was open when the authenticator was set up elsewhere."""
    old, page = browser(), browser()
    login(old)
    login(page)
    enrol(page, user)
    assert old.get("/admin/").status_code == 302
    assert old.get("/admin/two-factor/").status_code == 302
    answer = old.get("/api/v1/clients/")
    assert answer.status_code == 403 and answer.json()["code"] == "second_factor"
    assert old.get("/client/").status_code == 302
    assert old.post("/client/token/").status_code == 403


def test_where_it_is_required_it_is_set_up_first(user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(twofactor, "required", lambda: True)
    page = browser()
    assert login(page) == 302
    assert page.get("/admin/", follow=True).redirect_chain[-1][0].startswith("/admin/two-factor/")
    assert page.get("/api/v1/clients/").status_code == 403
    enrol(page, user)
    assert page.get("/admin/").status_code == 200


def test_guessing_is_stopped(user: User) -> None:
    page = browser()
    assert [login(page, "wrong") for _ in range(5)][-1] == 429
    assert login(page) == 429
    assert login(browser(), name="bob") == 200  # others are not locked out
