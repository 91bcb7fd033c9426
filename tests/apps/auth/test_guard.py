"""Limits on guessing and flapping, bans that follow from them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from apps.auth.facts import BanFacts
from apps.auth.guard import BanList, Guard
from apps.gateway.mqtt import reasons
from gmqtt_platform.config.loader import load

ADDRESS = "192.0.2.1"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    return Clock()


def guard(clock: Clock, **keys: object) -> tuple[Guard, list[BanFacts]]:
    environ = {f"GMQTT_AUTH__GUARD__{key.upper()}": str(value) for key, value in keys.items()}
    made = Guard(load(environ).auth.guard, clock)
    banned: list[BanFacts] = []
    made.ban = banned.append
    return made, banned


def test_an_address_that_guesses_is_refused_and_banned(clock: Clock) -> None:
    door, banned = guard(clock, failures_per_address=3, ban_seconds=60)
    for n in range(3):
        assert door.refusal(f"c{n}", ADDRESS) is None
        door.failed(f"c{n}", ADDRESS)
    refused = door.refusal("c9", ADDRESS)
    assert refused is not None
    assert refused.reason == reasons.CONNECTION_RATE_EXCEEDED
    assert door.refusal("c9", "192.0.2.2") is None
    (ban,) = banned
    assert (ban.kind, ban.value) == ("address", "192.0.2.1/32")
    assert ban.until is not None
    assert 50 < ban.until - time.time() <= 60
    assert door.counts == {"ban": 1, "address": 1}


def test_a_proxy_is_exempt_and_who_comes_through_it_is_not(clock: Clock) -> None:
    """Also one whose address lies in the proxies' network."""
    environ = {"GMQTT_HTTP__TRUSTED_PROXIES": "192.0.2.0/24", "GMQTT_AUTH__GUARD__FAILURES_PER_ADDRESS": "1"}
    door = Guard(load(environ).auth.guard, clock)
    door.failed("c", ADDRESS)
    assert door.refusal("c2", ADDRESS) is None
    door.failed("c", ADDRESS, proxied=True)
    assert door.refusal("c2", ADDRESS) is not None


def test_the_window_ends(clock: Clock) -> None:
    door, _ = guard(clock, failures_per_address=1, window=60)
    door.failed("c", ADDRESS)
    assert door.refusal("c2", ADDRESS) is not None
    clock.now = 60
    assert door.refusal("c2", ADDRESS) is None


def test_addresses_that_hide_many_are_exempt(clock: Clock) -> None:
    door, banned = guard(clock, failures_per_address=1, failures_per_client=0, exempt="10.0.0.0/8")
    for address in ("10.1.2.3", "::ffff:10.1.2.3"):
        for _ in range(5):
            door.failed("c", address)
        assert door.refusal("c", address) is None
    assert banned == []


def test_proxies_on_the_same_host_are_exempt_by_default(clock: Clock) -> None:
    door, _ = guard(clock, failures_per_address=1)
    assert door.exempts("127.0.0.1")
    assert door.exempts("::1")
    assert not door.exempts(ADDRESS)


def test_who_is_guessed_at_is_refused_there_and_nowhere_else(clock: Clock) -> None:
    """Ten wrong passwords from one place do not lock a device out at another."""
    door, banned = guard(clock, failures_per_client=10)
    for _ in range(10):
        assert door.refusal("thermometer-1", "198.51.100.9") is None
        door.failed("thermometer-1", "198.51.100.9")
    refused = door.refusal("thermometer-1", "198.51.100.9")
    assert refused is not None
    assert refused.reason == reasons.CONNECTION_RATE_EXCEEDED
    assert door.refusal("thermometer-1", ADDRESS) is None
    assert door.refusal("thermometer-2", "198.51.100.9") is None
    assert banned == []


def test_at_home_a_neighbour_does_not_lock_it_out(clock: Clock) -> None:
    """Where it succeeded last, but not without end."""
    door, _ = guard(clock, failures_per_client=2)
    door.succeeded("alice-1", ADDRESS, "alice")
    for _ in range(19):
        door.failed("alice", ADDRESS)
        assert door.refusal("alice", ADDRESS) is None
    door.failed("alice", ADDRESS)
    assert door.refusal("alice", ADDRESS) is not None
    assert door.refusal("alice-1", ADDRESS) is None


@pytest.mark.parametrize("per_client", (10, 0))
def test_a_few_bad_devices_do_not_ban_a_nat(clock: Clock, per_client: int) -> None:
    """Many strangers do: for an address each credential counts ten times at most."""
    door, banned = guard(clock, failures_per_client=per_client, failures_per_address=100)
    for device in ("old-1", "old-2"):
        door.succeeded(device, ADDRESS)
    for _ in range(120):
        for device in ("old-1", "old-2"):
            if door.refusal(device, ADDRESS) is None:
                door.failed(device, ADDRESS)
    assert banned == []
    assert door.refusal("good-3", ADDRESS) is None
    for n in range(80):
        door.failed(f"guess-{n}", ADDRESS)
    assert [ban.value for ban in banned] == ["192.0.2.1/32"]


def test_a_flapping_client_is_banned(clock: Clock) -> None:
    door, banned = guard(clock, connects_per_client=3)
    for _ in range(5):
        door.succeeded("alice-1", ADDRESS)
    (ban,) = banned
    assert (ban.kind, ban.value) == ("client_id", "alice-1")


def test_bans_can_be_off(clock: Clock) -> None:
    door, banned = guard(clock, failures_per_address=1, connects_per_client=1, ban_seconds=0)
    door.failed("c", ADDRESS)
    door.succeeded("c", ADDRESS)
    assert banned == []


def test_limits_can_be_off(clock: Clock) -> None:
    door, _ = guard(clock, failures_per_address=0, failures_per_client=0)
    for _ in range(1000):
        door.failed("c", ADDRESS)
    assert door.refusal("c", ADDRESS) is None


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.auth.guard.MAX_KEYS", 100)
    door, _ = guard(clock)
    for n in range(1000):
        door.failed(f"c{n}", f"2001:db8::{n:x}")
        door.succeeded(f"c{n}", f"2001:db8::{n:x}")
    sizes = [len(each) for each in (door._by_address, door._by_client, door._home, door._exempt)]
    assert max(sizes) <= 100


def test_which_ban_fits() -> None:
    bans = BanList()
    now = time.time()
    bans.take(
        [
            BanFacts(1, "client_id", "eve", None, ""),
            BanFacts(2, "username", "mallory", now + 60, ""),
            BanFacts(3, "address", "198.51.100.0/24", None, ""),
            BanFacts(4, "address", "2001:db8::/32", None, ""),
            BanFacts(5, "pattern", "bot-*", None, ""),
            BanFacts(6, "client_id", "former", now - 1, ""),
        ]
    )
    cases = {
        ("eve", "", ""): 1,
        ("x", "mallory", ""): 2,
        ("x", "", "198.51.100.7"): 3,
        ("x", "", "::ffff:198.51.100.7"): 3,
        ("x", "", "2001:db8::7"): 4,
        ("bot-7", "", ""): 5,
        ("former", "", ""): None,
        ("x", "", "192.0.2.1"): None,
        ("x", "", "not an address"): None,
        ("Eve", "", ""): None,
    }
    for who, wanted in cases.items():
        found = bans.find(*who)
        assert (found.id if found else None) == wanted
    assert len(bans) == 6
