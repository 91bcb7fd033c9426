"""How secrets are kept and compared."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from apps.auth import passwords
from apps.auth.fair_queue import Busy
from apps.auth.passwords import Passwords

QUICK = "pbkdf2_sha256$1$salt$" + "XzVxH4bpDxRNvV0WBfVDKeQhEMZZoSBaGhVPEZbMHHQ="


@pytest.fixture(autouse=True)
def quick_hasher(settings: object) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # type: ignore[attr-defined]
    passwords._nobody.cache_clear()


def test_a_generated_secret_verifies_and_its_neighbours_do_not() -> None:
    secret = passwords.generate()
    encoded = [passwords.encode_generated(passwords.generate()), passwords.encode_generated(secret)]
    assert passwords.verify_generated(secret.encode(), encoded)
    assert not passwords.verify_generated(passwords.generate().encode(), encoded)
    assert not passwords.verify_generated(secret.encode(), [])
    assert not passwords.verify_generated(secret.encode() + b"x", encoded)
    assert not passwords.verify_generated(secret.encode(), ["!unusable"])


def test_the_two_kinds_cannot_be_confused() -> None:
    with pytest.raises(ValueError, match="only a generated secret"):
        passwords.encode_generated("password")
    with pytest.raises(ValueError, match="may not look like"):
        passwords.encode_password(passwords.generate())


def test_two_encodings_of_one_secret_differ() -> None:
    secret = passwords.generate()
    assert passwords.encode_generated(secret) != passwords.encode_generated(secret)


def test_an_unknown_user_costs_as_much_as_a_known_one() -> None:
    """The same hashing happens: one SHA-256 here, one run of the slow hasher there."""
    secret = passwords.generate().encode()
    encoded = [passwords.encode_generated(passwords.generate())]

    def cost(of: list[str]) -> float:
        best = 1.0
        for _ in range(200):
            start = time.perf_counter()
            for _ in range(50):
                passwords.verify_generated(secret, of)
            best = min(best, time.perf_counter() - start)
        return best

    assert 0.5 < cost(encoded) / cost([]) < 2


async def test_an_unknown_user_runs_the_slow_hasher_too(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    monkeypatch.setattr(passwords, "check_password", lambda password, encoded: checked.append(encoded))
    checker = Passwords()
    assert not await checker.verify(b"guess", [])
    assert len(checked) == 1
    checker.close()


async def test_passwords_verify_and_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = [passwords.encode_password("correct horse"), passwords.encode_password("bätter")]
    checker = Passwords()
    assert await checker.verify(b"correct horse", encoded)
    assert await checker.verify("bätter".encode(), encoded)
    assert not await checker.verify(b"wrong", encoded)
    monkeypatch.setattr(passwords, "_check", lambda *_: pytest.fail("hashed again"))
    assert await checker.verify(b"correct horse", encoded)
    assert not await checker.verify(b"wrong", encoded)
    checker.close()


async def test_a_changed_password_is_not_remembered() -> None:
    checker = Passwords()
    assert await checker.verify(b"old", [passwords.encode_password("old")])
    assert not await checker.verify(b"old", [passwords.encode_password("new")])
    checker.close()


async def test_bytes_that_are_no_text_are_wrong() -> None:
    checker = Passwords()
    assert not await checker.verify(b"\xff\xfe", [passwords.encode_password("x")])
    checker.close()


async def test_at_most_so_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(passwords, "_check", lambda *_: go.wait(5))
    checker = Passwords(threads=1, waiting=2)
    tasks = [asyncio.ensure_future(checker.verify(b"%d" % n, [QUICK])) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Busy):
        await checker.verify(b"one more", [QUICK])
    go.set()
    assert await asyncio.gather(*tasks) == [True, True, True]
    assert checker.running == 0
    checker.close()


def test_scram_keys_round_trip() -> None:
    keys = passwords.decode_scram(passwords.encode_scram("pencil"))
    assert keys is not None
    assert passwords.scram_keys(b"pencil", keys.salt, keys.iterations) == keys


def test_two_secrets_of_a_user_may_share_a_salt() -> None:
    old = passwords.encode_scram("old", iterations=5000)
    one, other = passwords.decode_scram(old), passwords.decode_scram(passwords.encode_scram("new", like=old))
    assert one is not None
    assert other is not None
    assert (one.salt, one.iterations) == (other.salt, other.iterations)
    assert one.stored_key != other.stored_key


def test_saslprep() -> None:
    """The examples of RFC 4013, section 3."""
    prepared = [passwords.saslprep(text) for text in ("I\u00adX", "user", "USER", "\u00aa", "\u2168")]
    assert prepared == ["IX", "user", "USER", "a", "IX"]
    assert passwords.encode_scram("bell\u0007") == ""
    for text in ("\u0007", "\u0627\u0031"):
        with pytest.raises(ValueError, match=r"SASLprep|directions"):
            passwords.saslprep(text)


@pytest.mark.parametrize("bad", ["", "sha256$x$y", "SCRAM-SHA-256$x", "SCRAM-SHA-256$1:!$a:b"])
def test_what_is_no_scram_verifier_is_none(bad: str) -> None:
    assert passwords.decode_scram(bad) is None
