"""What time has made useless goes, and what was refused does not grow for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from apps.auth import proofs
from apps.auth.models import Ban, Credential, IdempotentRequest, Refusal, UsedNonce
from apps.auth.services import bans, credentials, refusals, upkeep
from apps.common.actors import SYSTEM
from tests.apps.auth.factories import AccountFactory, BanFactory, CredentialFactory, RefusalFactory

pytestmark = pytest.mark.django_db


def test_nonces_that_are_too_old_anyway() -> None:
    account, now = AccountFactory(), timezone.now()
    UsedNonce.objects.create(account=account, nonce="old", expires_at=now - timedelta(seconds=1))
    UsedNonce.objects.create(account=account, nonce="new", expires_at=now + timedelta(seconds=99))
    proofs._use_up(account, "now", int(now.timestamp()) + 300)
    assert set(UsedNonce.objects.values_list("nonce", flat=True)) == {"new", "now"}


def test_answers_of_yesterday() -> None:
    for key in ("old", "new"):
        IdempotentRequest.objects.create(
            caller="user:1", key_hash=key, request_hash="", status=200, answer=""
        )
    yesterday = timezone.now() - upkeep.ANSWERS_KEPT - timedelta(seconds=1)
    IdempotentRequest.objects.filter(key_hash="old").update(created_at=yesterday)
    upkeep.forget_answers(timezone.now())
    assert IdempotentRequest.objects.get().key_hash == "new"


def test_credentials_that_ended_long_ago_go_at_the_next_rotation() -> None:
    current = CredentialFactory()
    long_ago = timezone.now() - upkeep.ENDED_KEPT - timedelta(seconds=1)
    gone = CredentialFactory(client=current.client, valid_until=long_ago)
    other = CredentialFactory(valid_until=long_ago)
    kept = CredentialFactory(client=current.client, valid_until=timezone.now() - timedelta(days=1))
    credentials.rotate(SYSTEM, current)
    left = set(Credential.objects.values_list("pk", flat=True))
    assert gone.pk not in left
    assert {current.pk, kept.pk, other.pk} < left


def test_bans_that_ended_long_ago_go_at_the_next_ban() -> None:
    BanFactory(value="gone", until=timezone.now() - upkeep.ENDED_KEPT - timedelta(seconds=1))
    BanFactory(value="kept", until=timezone.now() - timedelta(days=1))
    bans.create(SYSTEM, "username", "new")
    assert set(Ban.objects.values_list("value", flat=True)) == {"kept", "new"}


def test_the_oldest_refusals_make_room() -> None:
    refusals.record([RefusalFactory.build(client_id=f"c{n}") for n in range(30)], kept=20)
    refusals.record([RefusalFactory.build(client_id="last")], kept=20)
    found = list(Refusal.objects.order_by("id").values_list("client_id", flat=True))
    assert found == [*(f"c{n}" for n in range(11, 30)), "last"]


def test_a_refusal_is_cut_to_fit() -> None:
    row = RefusalFactory.build(client_id="x" * 70_000, username="a\0b", topic="t" * 70_000, reason="r" * 999)
    refusals.record([row])
    kept = Refusal.objects.get()
    assert (len(kept.client_id), kept.username, len(kept.topic), len(kept.reason)) == (256, "ab", 1024, 256)
