"""Two requests at the same time: the database decides, and both hear the truth.

On PostgreSQL (test_postgresql.py): SQLite lets one writer in at a time, so there is no race to lose.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event, Timer
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection, connections, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from apps.auth import proofs
from apps.auth.models import Client, Credential, Role
from apps.auth.services import credentials, registering
from apps.auth.services.accounts import write_builtin_roles
from apps.auth.services.credentials import NewCredential
from apps.auth.services.registering import NewClient
from apps.common.actors import SYSTEM
from apps.common.errors import Duplicate, Unauthenticated
from tests.apps.auth.admin.pages import browser_of, inline
from tests.apps.auth.factories import SECRET, AccountFactory, ClientFactory, CredentialFactory, UserFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite: test_postgresql.py runs this file"),
]
CLIENTS = "/api/v1/clients/"


def at_once(work: Callable[[int], Any], times: int = 4) -> list[Any]:
    start = Barrier(times)

    def run(number: int) -> Any:
        try:
            start.wait(timeout=20)
            return work(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


@pytest.fixture
def caller() -> Callable[[], APIClient]:
    cache.clear()
    if not Role.objects.exists():
        write_builtin_roles("default")
    account = AccountFactory(roles=["admin"])
    token = proofs.issue_token(account.access_key, SECRET, "api")

    def make() -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    return make


def test_one_registers_and_the_others_hear_of_it(caller: Callable[[], APIClient]) -> None:
    answers = at_once(lambda number: caller().post(CLIENTS, {"client_id": "a"}, format="json"))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    client = Client.objects.get()
    assert {answer.json()["existing_id"] for answer in answers if answer.status_code == 409} == {client.pk}


def test_the_same_key_at_the_same_time_has_one_answer(caller: Callable[[], APIClient]) -> None:
    body = {"client_id": "a"}
    answers = at_once(lambda number: caller().post(CLIENTS, body, format="json", HTTP_IDEMPOTENCY_KEY="k"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["secret"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" in answer for answer in answers) == 3


def test_overlapping_bulk_requests(caller: Callable[[], APIClient]) -> None:
    def register(number: int) -> dict[str, Any]:
        rows = [{"client_id": f"c{n}", "scram": False} for n in range(number * 10, number * 10 + 20)]
        answer: dict[str, Any] = caller().post(CLIENTS + "bulk/", {"clients": rows}, format="json").json()
        return answer

    answers = at_once(register)
    assert sum(answer["registered"] for answer in answers) == Client.objects.count() == 50
    assert sum(answer["failed"] for answer in answers) == 30


def test_a_nonce_is_accepted_once() -> None:
    account = AccountFactory()

    def use(number: int) -> str:
        try:
            proofs._use_up(account, "just-once", 2**31)
        except Unauthenticated as error:
            return error.code
        return "accepted"

    assert sorted(at_once(use)) == ["accepted", "replayed", "replayed", "replayed"]


def test_a_credential_is_rotated_by_one(caller: Callable[[], APIClient]) -> None:
    credential = CredentialFactory(client=ClientFactory())
    answers = at_once(
        lambda number: caller().post(f"/api/v1/credentials/{credential.pk}/rotate/", {}, format="json")
    )
    assert sorted(answer.status_code for answer in answers) == [200, 400, 400, 400]
    assert Credential.objects.filter(valid_until=None).count() == 1


def test_of_four_operators_with_the_same_form_one_saves_it() -> None:
    alice = UserFactory(is_staff=True, is_superuser=True)
    client = ClientFactory()
    path = f"/admin/mqtt_auth/client/{client.pk}/change/"
    browsers = [browser_of(alice) for _ in range(4)]
    (seen,) = re.findall(r'name="seen" value="(\w+)"', browsers[0].get(path).content.decode())
    form = {"owner": "", "transports": ["tls"], "seen": seen} | inline("credentials") | inline("rules")
    answers = at_once(lambda number: browsers[number].post(path, form | {"display_name": f"of {number}"}))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 302]
    winner = next(number for number, answer in enumerate(answers) if answer.status_code == 302)
    client.refresh_from_db()
    assert client.display_name == f"of {winner}"


def test_unregistering_twice(caller: Callable[[], APIClient]) -> None:
    client = ClientFactory()
    answers = at_once(lambda number: caller().delete(f"{CLIENTS}{client.pk}/"))
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]


@pytest.mark.parametrize("rows", [1, 60])
def test_a_user_name_that_somebody_is_just_getting(rows: int) -> None:
    """No constraint sees it: the credential has an end. One by one, and in bulk."""
    client = ClientFactory()
    given, waiting = Event(), Event()

    def give(number: int) -> Any:
        if number:
            given.wait(10)
            news = [NewClient(client_id=f"c-{each}", username=f"u-{each}") for each in range(rows)]
            Timer(0.5, waiting.set).start()
            return registering.register_many(SYSTEM, news, all_or_nothing=False)[0]
        with transaction.atomic():
            until = timezone.now() + timedelta(days=1)
            made = credentials.add(SYSTEM, client, NewCredential(username="u-0", valid_until=until))
            given.set()
            waiting.wait(10)
        return made

    _, outcome = at_once(give, 2)
    assert isinstance(outcome, Duplicate)
    assert Credential.objects.filter(username="u-0").count() == 1
    assert Client.objects.filter(client_id__startswith="c-").count() == rows - 1
