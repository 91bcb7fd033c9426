"""What the database itself refuses, whoever writes. test_postgresql.py runs this file there, too."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from apps.auth.models import AclRule, Client, Credential, Refusal, Role, ServiceAccount, UsedNonce
from tests.apps.auth.factories import (
    AccountFactory,
    BanFactory,
    ClientFactory,
    CredentialFactory,
    GroupFactory,
    RuleFactory,
)

pytestmark = pytest.mark.django_db

SECRET = {"kind": "secret", "username": "a", "secret": "x", "subject": "", "claim": "", "claim_value": ""}
X509 = SECRET | {"kind": "x509", "username": "", "secret": "", "subject": "CN=a"}
JWT = X509 | {"kind": "jwt", "subject": "", "claim": "sub", "claim_value": "a"}


def credential(**columns: Any) -> Credential:
    return CredentialFactory(**SECRET | columns)


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda: ClientFactory(client_id=""), id="client without client id"),
        pytest.param(lambda: ClientFactory(transport_mask=0), id="client without transport"),
        pytest.param(lambda: ClientFactory(transport_mask=16), id="client with unknown transport"),
        pytest.param(lambda: ClientFactory.create_batch(2, client_id="a"), id="client id twice"),
        pytest.param(lambda: GroupFactory(name=""), id="group without name"),
        pytest.param(lambda: GroupFactory.create_batch(2, name="a"), id="group twice"),
        pytest.param(lambda: credential(username=""), id="secret without username"),
        pytest.param(lambda: credential(secret=""), id="secret without secret"),
        pytest.param(lambda: credential(subject="CN=a"), id="secret with subject"),
        pytest.param(lambda: credential(kind="magic"), id="unknown kind"),
        pytest.param(lambda: credential(**X509 | {"subject": ""}), id="x509 without subject"),
        pytest.param(lambda: credential(**X509 | {"secret": "x"}), id="x509 with secret"),
        pytest.param(lambda: credential(**JWT | {"claim": ""}), id="jwt without claim"),
        pytest.param(lambda: credential(**JWT | {"claim_value": ""}), id="jwt without claim value"),
        pytest.param(lambda: [credential(), credential()], id="username of two clients"),
        pytest.param(lambda: [credential(**X509), credential(**X509)], id="subject of two clients"),
        pytest.param(lambda: [credential(**JWT), credential(**JWT)], id="claim of two clients"),
        pytest.param(lambda: RuleFactory(client=ClientFactory(), group=GroupFactory()), id="rule for both"),
        pytest.param(lambda: RuleFactory(effect="maybe"), id="unknown effect"),
        pytest.param(lambda: RuleFactory(action="read"), id="unknown action"),
        pytest.param(lambda: RuleFactory(filter=""), id="rule without filter"),
        pytest.param(lambda: RuleFactory(max_qos=3), id="QoS 3"),
        pytest.param(lambda: RuleFactory(effect="deny", max_qos=1), id="deny with QoS limit"),
        pytest.param(lambda: RuleFactory(effect="deny", retain=False), id="deny with retain limit"),
        pytest.param(lambda: BanFactory(value=""), id="ban of nothing"),
        pytest.param(lambda: BanFactory(kind="colour"), id="unknown kind of ban"),
        pytest.param(lambda: BanFactory.create_batch(2, value="a"), id="ban twice"),
        pytest.param(lambda: AccountFactory(secret=""), id="account without secret"),
        pytest.param(lambda: AccountFactory(access_key=""), id="account without access key"),
        pytest.param(lambda: AccountFactory.create_batch(2, access_key="a"), id="access key twice"),
        pytest.param(lambda: AccountFactory.create_batch(2, name="a"), id="account name twice"),
        pytest.param(lambda: [Role.objects.create(name="r") for _ in "ab"], id="role twice"),
    ],
)
def test_refused(write: Callable[[], object]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        write()


def test_a_nonce_is_used_once() -> None:
    account, later = AccountFactory(), timezone.now()
    UsedNonce.objects.create(account=account, nonce="n", expires_at=later)
    UsedNonce.objects.create(account=AccountFactory(), nonce="n", expires_at=later)
    with pytest.raises(IntegrityError), transaction.atomic():
        UsedNonce.objects.create(account=account, nonce="n", expires_at=later)


def test_ended_credentials_are_in_nobodys_way() -> None:
    end = timezone.now() + timedelta(hours=1)
    for columns in (SECRET, X509, JWT):
        client = ClientFactory()
        credential(**columns, client=client, valid_until=end)
        credential(**columns, client=client)
    assert Credential.objects.count() == 6


def test_everything_of_a_client_goes_with_it() -> None:
    client = ClientFactory(groups=[GroupFactory()])
    CredentialFactory(client=client)
    RuleFactory(client=client)
    Client.objects.all().delete()
    assert not Credential.objects.exists()
    assert not AclRule.objects.exists()


@pytest.mark.parametrize("model", [Client, Credential, AclRule, Refusal, ServiceAccount])
def test_the_indexes_are_there_under_their_names(model: Any) -> None:
    with connection.cursor() as cursor:
        found = set(connection.introspection.get_constraints(cursor, model._meta.db_table))
    named = {index.name for index in model._meta.indexes}
    assert named <= found
