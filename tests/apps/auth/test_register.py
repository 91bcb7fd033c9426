"""services.registering: one client, many clients, and who may."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from auditlog.models import LogEntry
from django.core.exceptions import PermissionDenied, ValidationError

from apps.auth import passwords
from apps.auth.models import Client, ClientGroup, Credential
from apps.auth.services.registering import NewClient, Registered, register, register_many
from apps.common.actors import Actor
from apps.common.errors import BadRows, Duplicate
from tests.apps.auth.conftest import Announced
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory

pytestmark = pytest.mark.django_db


def test_a_generated_secret_is_shown_once_and_kept_as_a_hash(as_alice: Actor, announced: Announced) -> None:
    with announced() as heard:
        made = register(as_alice, NewClient("pump-1", display_name="Pump", transports=["tls"]))
    credential = Credential.objects.get(client__client_id="pump-1")
    assert made.secret is not None
    _, salt, digest = credential.secret.split("$")
    assert hashlib.sha256((salt + made.secret).encode()).hexdigest() == digest
    keys = passwords.decode_scram(credential.scram)
    assert keys == passwords.scram_keys(made.secret.encode(), keys.salt, keys.iterations)
    assert (credential.kind, credential.username, credential.valid_until) == ("secret", "pump-1", None)
    client = Client.objects.get()
    assert (client.transports, client.enabled) == (["tls"], True)
    assert heard == [{"type": "auth.changed", "what": "client", "client_ids": ["pump-1"]}]
    assert made.secret not in str(list(LogEntry.objects.values()))
    assert made.secret not in repr(made)


def test_a_client_id_is_made_up_when_none_is_given(as_alice: Actor) -> None:
    one, two = register(as_alice, NewClient()), register(as_alice, NewClient())
    assert one.client.client_id != two.client.client_id
    assert one.credential.username == one.client.client_id


def test_a_password_of_a_human_goes_through_djangos_hasher(as_alice: Actor) -> None:
    made = register(as_alice, NewClient("desk", username="dora", password="correct horse battery"))
    assert made.secret is None
    assert (made.credential.kind, made.credential.username) == ("password", "dora")
    assert made.credential.secret.startswith("pbkdf2_sha256$")


@pytest.mark.parametrize(
    ("new", "field", "code"),
    [
        (NewClient("a\nb"), "client_id", "control_character"),
        (NewClient("a\0b"), "client_id", "control_character"),
        (NewClient("a\ud800b"), "client_id", "control_character"),
        (NewClient("a" * 257), "client_id", "max_length"),
        (NewClient("a", groups=["none"]), "groups", "unknown_group"),
        (NewClient("a", password="short"), "password", "password_too_short"),
        (NewClient("a", password="gmq_" + "x" * 43), "password", "looks_generated"),
    ],
)
def test_what_cannot_be_registered(as_alice: Actor, new: NewClient, field: str, code: str) -> None:
    with pytest.raises(ValidationError) as caught:
        register(as_alice, new)
    assert code in [error.code for error in caught.value.error_dict[field]]
    assert not Client.objects.exists()


def test_a_client_id_or_username_is_taken_once(as_alice: Actor) -> None:
    taken = CredentialFactory(client=ClientFactory(client_id="a"), username="ann")
    for new in (NewClient("a"), NewClient("b", username="ann")):
        with pytest.raises(Duplicate) as caught:
            register(as_alice, new)
        assert caught.value.existing_id == taken.client.pk
    assert Client.objects.count() == 1


def test_many_at_once(as_alice: Actor, announced: Announced) -> None:
    group = GroupFactory(name="fleet")
    news = [NewClient(f"d{n}", groups=["fleet"], scram=False) for n in range(1_200)]
    with announced() as heard:
        outcomes = register_many(as_alice, news, all_or_nothing=True)
    assert all(isinstance(outcome, Registered) for outcome in outcomes)
    assert Client.objects.count() == Credential.objects.count() == group.clients.count() == 1_200
    assert len({outcome.secret for outcome in outcomes}) == 1_200
    assert heard == [{"type": "auth.changed", "what": "client", "client_ids": None}]
    assert LogEntry.objects.filter(content_type__model="client", actor=as_alice.user).count() == 1_200
    entry = LogEntry.objects.get(object_repr="d77")
    assert entry.changes["groups"] == [None, ["fleet"]]
    assert entry.changes["client_id"] == [None, "d77"]


def test_a_bad_row_does_not_stop_the_others(as_alice: Actor) -> None:
    ClientFactory(client_id="taken")
    news = [
        NewClient("new"),
        NewClient("taken"),
        NewClient("new"),
        NewClient("x\n"),
        ValidationError("unread"),
    ]
    outcomes = register_many(as_alice, news, all_or_nothing=False)
    assert [type(outcome) for outcome in outcomes] == [
        Registered,
        Duplicate,
        ValidationError,
        ValidationError,
        ValidationError,
    ]
    assert set(Client.objects.values_list("client_id", flat=True)) == {"taken", "new"}


def test_all_or_nothing(as_alice: Actor, announced: Announced) -> None:
    ClientFactory(client_id="taken")
    with announced() as heard, pytest.raises(BadRows) as caught:
        register_many(as_alice, [NewClient("new"), NewClient("taken")], all_or_nothing=True)
    assert [type(row) for row in caught.value.rows] == [Registered, Duplicate]
    assert Client.objects.count() == 1
    assert heard == []


def test_who_manages_a_group_registers_into_it_and_nowhere_else(
    as_bob: Actor, as_charlie: Actor, pumps: ClientGroup
) -> None:
    GroupFactory(name="other")
    assert register(as_bob, NewClient("a", groups=["pumps"])).client.groups.get() == pumps
    for actor, groups in (
        (as_bob, []),
        (as_bob, ["pumps", "other"]),
        (as_charlie, ["pumps"]),
        (as_charlie, []),
    ):
        with pytest.raises(PermissionDenied):
            register(actor, NewClient("b", groups=groups))


def test_who_was_faster_is_found_out_at_the_database(
    as_alice: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look for duplicates and the write somebody registers the same client id."""
    from apps.auth.services import registering

    refuse = registering._refuse_existing
    raced: list[Any] = []

    def look(rows: Any) -> None:
        refuse(rows)
        if not raced:
            raced.append(ClientFactory(client_id="a"))

    monkeypatch.setattr(registering, "_refuse_existing", look)
    first, second = register_many(as_alice, [NewClient("a"), NewClient("b")], all_or_nothing=False)
    assert isinstance(first, Duplicate)
    assert first.existing_id == raced[0].pk
    assert isinstance(second, Registered)
