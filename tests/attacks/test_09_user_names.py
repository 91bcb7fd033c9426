"""Point 9: a user name is one client's, so `users/${username}/#` is nobody else's."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.auth.models import AclRule, Client
from apps.auth.providers.bulk import facts_of
from apps.auth.selectors import connect_facts
from apps.auth.services import credentials, registering
from apps.auth.services.credentials import NewCredential
from apps.auth.services.registering import NewClient
from apps.common.actors import SYSTEM
from apps.common.errors import Duplicate
from apps.gateway.broker.ports import DENIED
from tests.apps.auth.chains import build, connect, register
from tests.apps.auth.factories import SECRET, ClientFactory, CredentialFactory, UserFactory

pytestmark = pytest.mark.django_db


def soon() -> object:
    return timezone.now() + timedelta(days=1)


def test_a_second_credential_that_ends(client_and_name: tuple[Client, str]) -> None:
    """The attack: the same name with an end date, which no constraint of the database sees."""
    _, name = client_and_name
    mine = ClientFactory()
    for valid_until in (None, soon()):
        with pytest.raises(Duplicate):
            credentials.add(SYSTEM, mine, NewCredential(username=name, valid_until=valid_until))  # type: ignore[arg-type]


@pytest.fixture(params=["without end", "with an end"])
def client_and_name(request: pytest.FixtureRequest) -> tuple[Client, str]:
    client = ClientFactory()
    until = None if request.param == "without end" else soon()
    CredentialFactory(client=client, username="victim", valid_until=until)
    return client, "victim"


def test_a_name_that_still_holds_is_not_registered(client_and_name: tuple[Client, str]) -> None:
    with pytest.raises(Duplicate):
        registering.register(SYSTEM, NewClient(client_id="x", username="victim"))


def test_the_client_itself_may_have_several() -> None:
    """As it does after a rotation."""
    client = CredentialFactory(username="victim", valid_until=soon()).client
    credentials.add(SYSTEM, client, NewCredential(username="victim"))


def test_what_has_ended_is_free() -> None:
    CredentialFactory(username="victim", valid_until=timezone.now() - timedelta(seconds=1))
    credentials.add(SYSTEM, ClientFactory(), NewCredential(username="victim"))


@pytest.mark.parametrize(
    "name", [{"kind": "x509", "subject": "CN=a"}, {"kind": "jwt", "claim": "sub", "claim_value": "a"}]
)
def test_so_are_subjects_and_claims(name: dict[str, str]) -> None:
    CredentialFactory(**{"username": "", "secret": ""} | name, valid_until=soon())
    with pytest.raises(Duplicate):
        credentials.add(SYSTEM, ClientFactory(), NewCredential(**name))


def test_rest_says_409(client_and_name: tuple[Client, str]) -> None:
    api = APIClient()
    api.force_login(UserFactory(is_staff=True, is_superuser=True))
    mine = ClientFactory()
    body = {"client": mine.pk, "kind": "secret", "username": "victim", "valid_until": soon()}
    answer = api.post("/api/v1/credentials/", body, format="json", headers={"host": "localhost"})
    assert answer.status_code == 409, answer.content


@pytest.mark.django_db(transaction=True)
async def test_rows_from_before() -> None:
    """Both come in; the name is the one's that has it without end, or had it first."""
    from asgiref.sync import sync_to_async

    def rows() -> None:
        register("owner-1", "owner")
        for client_id, until in (("thief-1", soon()), ("first-1", soon()), ("second-1", soon())):
            client = ClientFactory(client_id=client_id)
            username = "owner" if client_id == "thief-1" else "both"
            CredentialFactory(client=client, username=username, valid_until=until)
        AclRule.objects.create(effect="allow", action="both", filter="users/${username}/#")

    await sync_to_async(rows)()
    chain = build("django")
    for client_id, username, granted in (
        ("thief-1", "owner", DENIED),
        ("first-1", "both", 1),
        ("second-1", "both", DENIED),
    ):
        verdict = await chain.connect(connect(client_id, username, SECRET))
        assert verdict.accepted and verdict.acl is not None
        assert verdict.acl.subscribe(f"users/{username}/#", 1) == granted
    ids = ["owner-1", "thief-1", "first-1", "second-1"]
    many = await sync_to_async(facts_of)(ids)
    for client_id in ids:
        one = await sync_to_async(connect_facts)(client_id)
        assert many[client_id].credentials == one.credentials
    await chain.close()
