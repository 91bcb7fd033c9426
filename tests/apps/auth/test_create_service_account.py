"""manage.py createserviceaccount: the first way in, and what it answers to bad input."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from apps.auth.models import ServiceAccount

pytestmark = pytest.mark.django_db


def create(*args: str) -> dict[str, str]:
    out = StringIO()
    call_command("createserviceaccount", *args, stdout=out)
    return dict(line.split() for line in out.getvalue().splitlines())


def test_it_makes_an_account_that_can_get_a_token(client):
    made = create("provisioning", "registrar")
    answer = client.post("/api/v1/auth/token/", made, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert ServiceAccount.objects.get().access_key == made["access_key"]


def test_the_secret_is_not_stored():
    made = create("provisioning", "registrar")
    row = ServiceAccount.objects.values().get()
    assert made["secret"] not in str(row)


def test_an_unknown_role_lists_those_there_are():
    with pytest.raises(CommandError, match=r"no role nobody; there are: admin, gateway, registrar, viewer"):
        create("provisioning", "registrar", "nobody")
    assert not ServiceAccount.objects.exists()


def test_a_name_is_taken_once():
    create("provisioning", "registrar")
    with pytest.raises(CommandError, match="exists already"):
        create("provisioning", "viewer")
