from __future__ import annotations

import re
from io import StringIO

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.core.management import CommandError, call_command
from django.http import HttpRequest

pytestmark = pytest.mark.django_db


def ensure_operator() -> str:
    out = StringIO()
    call_command("ensure_operator", stdout=out)
    return out.getvalue()


def test_the_password_is_printed_once_and_works() -> None:
    printed = re.fullmatch(r"Operator account .*: operator / ([A-Za-z0-9_-]{24})\n", ensure_operator())
    assert printed
    operator = authenticate(HttpRequest(), username="operator", password=printed[1])
    assert operator is not None
    assert operator.is_superuser
    assert ensure_operator() == ""
    assert get_user_model().objects.count() == 1


def test_any_superuser_will_do() -> None:
    get_user_model().objects.create_superuser("ada", password="engine")
    assert ensure_operator() == ""
    assert not get_user_model().objects.filter(username="operator").exists()


def test_a_plain_user_named_operator_is_not_taken_over() -> None:
    get_user_model().objects.create_user("operator", password="engine")
    with pytest.raises(CommandError, match="createsuperuser"):
        ensure_operator()
    assert not get_user_model().objects.get().is_superuser
