"""Passwords that people chose, in a reconnect storm: slow once, quick from then on, over a restart, too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from auditlog.models import LogEntry

from apps.auth import passwords
from apps.auth.models import Credential
from apps.auth.providers.chain import Chain
from apps.auth.services import credentials, registering
from apps.auth.services.registering import NewClient, Registered
from apps.common.actors import SYSTEM
from apps.gateway.mqtt import reasons
from tests.apps.auth.chains import build, connect, register

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "correct horse battery"


@pytest.fixture
async def chain() -> AsyncIterator[Chain]:
    chain = build("django")
    yield chain
    await chain.close()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The passwords that were checked the slow way."""
    checked: list[bytes] = []
    check = passwords._check

    def noted(password: bytes, encoded: list[str]) -> bool:
        checked.append(password)
        return check(password, encoded)

    monkeypatch.setattr(passwords, "_check", noted)
    return checked


@pytest.fixture
def quick_hasher(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


async def test_quick_after_a_restart(chain: Chain, slow: list[bytes], quick_hasher: None) -> None:
    await sync_to_async(register)(password=PASSWORD)
    assert (await chain.connect(connect(password=PASSWORD))).accepted
    assert slow == [PASSWORD.encode()]
    await chain.parts.verifiers.flush(chain.parts.database)
    again = build("django")  # the node that is started again
    try:
        for _ in range(3):
            assert (await again.connect(connect(password=PASSWORD))).accepted
        assert len(slow) == 1
        wrong = await again.connect(connect(password="correct horse"))
        assert wrong.reason == reasons.BAD_USER_NAME_OR_PASSWORD
        assert len(slow) == 2  # as slow as for a name that nobody has
    finally:
        await again.close()


async def test_not_with_another_secret_key(
    chain: Chain, slow: list[bytes], quick_hasher: None, settings: Any
) -> None:
    """Then the hash decides, and what is kept is made anew."""
    await sync_to_async(register)(password=PASSWORD)
    await chain.connect(connect(password=PASSWORD))
    await chain.parts.verifiers.flush(chain.parts.database)
    before = (await Credential.objects.aget()).verifier
    settings.SECRET_KEY = "another one, as long as it has to be for this"
    again = build("django")
    try:
        assert (await again.connect(connect(password=PASSWORD))).accepted
        assert len(slow) == 2
        await again.parts.verifiers.flush(again.parts.database)
        assert (await Credential.objects.aget()).verifier != before
    finally:
        await again.close()


async def test_what_is_kept(chain: Chain, quick_hasher: None) -> None:
    """A digest for which it takes SECRET_KEY; not the password, and not in the audit trail."""
    await sync_to_async(register)(password=PASSWORD)
    entries = await LogEntry.objects.acount()
    await chain.connect(connect(password=PASSWORD))
    await chain.parts.verifiers.flush(chain.parts.database)
    verifier = (await Credential.objects.aget()).verifier
    assert verifier.startswith("keyed$") and PASSWORD not in verifier
    assert await LogEntry.objects.acount() == entries
    assert verifier not in repr(await sync_to_async(list)(LogEntry.objects.values_list("changes", flat=True)))
    assert passwords.encode_keyed(PASSWORD) != passwords.encode_keyed(PASSWORD)  # salted


async def test_a_rotated_password_is_another(chain: Chain, quick_hasher: None) -> None:
    await sync_to_async(register)(password=PASSWORD)
    await chain.connect(connect(password=PASSWORD))
    await chain.parts.verifiers.flush(chain.parts.database)
    old = await Credential.objects.select_related("client").aget()
    await sync_to_async(credentials.rotate)(SYSTEM, old, password="another horse battery")
    chain.forget(["alice-1"])
    assert not (await chain.connect(connect(password=PASSWORD))).accepted
    assert (await chain.connect(connect(password="another horse battery"))).accepted


async def test_a_thousand_come_back_at_once(chain: Chain, slow: list[bytes]) -> None:
    """With Django's own hasher, 0.3 s each: none is asked."""
    news = [NewClient(f"d-{n}", password=f"correct horse {n}", scram=False) for n in range(1000)]
    outcomes = await sync_to_async(registering.register_many)(SYSTEM, news, True)
    assert all(isinstance(each, Registered) for each in outcomes)
    verdicts = await asyncio.gather(
        *[chain.connect(connect(f"d-{n}", f"d-{n}", f"correct horse {n}")) for n in range(1000)]
    )
    assert all(each.accepted for each in verdicts)
    assert slow == []


async def test_wrong_ones_of_many_that_were_registered_at_once(chain: Chain, slow: list[bytes]) -> None:
    """They have no hash of their own to check: it takes as long as for a name that nobody has."""
    news = [NewClient(f"d-{n}", password=f"correct horse {n}", scram=False) for n in range(20)]
    await sync_to_async(registering.register_many)(SYSTEM, news, True)
    for name, client_id in (("d-3", "d-3"), ("nobody", "nobody")):
        verdict = await chain.connect(connect(client_id, name, "correct horse 4"))
        assert verdict.reason == reasons.BAD_USER_NAME_OR_PASSWORD
    assert len(slow) <= 2


def test_a_few_are_hashed() -> None:
    """One that is registered alone can be checked without SECRET_KEY."""
    _, _ = register(password=PASSWORD)
    secret = Credential.objects.get().secret
    assert secret.startswith("pbkdf2_sha256$")


def test_many_are_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 would take 80 s of CPU; the keyed digest is enough."""
    monkeypatch.setattr(passwords, "encode_password", lambda password: pytest.fail("hashed"))
    news = [NewClient(f"d-{n}", password=f"correct horse {n}") for n in range(400)]
    registering.register_many(SYSTEM, news, True)
    assert Credential.objects.filter(secret__startswith="keyed$").count() == 400


async def test_the_first_login_brings_the_missing_hash(
    chain: Chain, quick_hasher: None, settings: Any
) -> None:
    """So that one of many that were registered at once outlives SECRET_KEY, as every other does."""
    news = [NewClient(f"d-{n}", password=f"correct horse {n}", scram=False) for n in range(20)]
    await sync_to_async(registering.register_many)(SYSTEM, news, True)
    verifiers, database = chain.parts.verifiers, chain.parts.database
    for n in (3, 4):
        assert (await chain.connect(connect(f"d-{n}", f"d-{n}", f"correct horse {n}"))).accepted
    assert not (await chain.connect(connect("d-5", "d-5", "correct horse 6"))).accepted
    assert verifiers.upgrades == 2
    fourth = await Credential.objects.select_related("client").aget(username="d-4")
    await sync_to_async(credentials.rotate)(SYSTEM, fourth, password="another horse battery")
    rotated = (await Credential.objects.filter(username="d-4").order_by("-id").afirst()).secret
    for _ in range(3):
        await verifiers.flush(database)
    assert verifiers.upgrades == 0
    secrets = {each.username: each.secret async for each in Credential.objects.order_by("id")}
    assert secrets["d-3"].startswith("md5$") and secrets["d-4"] == rotated
    assert (await chain.connect(connect("d-3", "d-3", "correct horse 3"))).accepted
    assert verifiers.upgrades == 0  # facts in memory do not show the hash yet
    settings.SECRET_KEY = "another one, as long as it has to be for this"
    again = build("django")
    try:
        assert (await again.connect(connect("d-3", "d-3", "correct horse 3"))).accepted
        assert not (await again.connect(connect("d-7", "d-7", "correct horse 7"))).accepted  # never used
    finally:
        await again.close()


async def test_a_replaced_secret_key_is_still_good_for_it(chain: Chain, settings: Any) -> None:
    """docs/security.md, "Rotating the key": until it leaves `secret_key_fallbacks`."""
    news = [NewClient(f"d-{n}", password=f"correct horse {n}", scram=False) for n in range(20)]
    await sync_to_async(registering.register_many)(SYSTEM, news, True)
    old, settings.SECRET_KEY = settings.SECRET_KEY, "another one, as long as it has to be for this"
    settings.SECRET_KEY_FALLBACKS = [old]
    assert (await chain.connect(connect("d-7", "d-7", "correct horse 7"))).accepted
    settings.SECRET_KEY_FALLBACKS = []
    chain.forget(["d-8"])
    assert not (await chain.connect(connect("d-8", "d-8", "correct horse 8"))).accepted
