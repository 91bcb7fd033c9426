"""Messages between processes: signed, fresh, read once, and keys can be rotated."""

from __future__ import annotations

import time

import pytest
from django.core import signing

from apps.common import sealing
from apps.common.signed import WINDOW, Reader, sign


class Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


def test_it_is_read_once_by_each_reader() -> None:
    text = sign("p", {"a": 1})
    reader, other = Reader("p"), Reader("p")
    assert reader.open(text) == other.open(text) == {"a": 1}
    assert reader.open(text) is None
    assert reader.refused == 1


@pytest.mark.parametrize("text", [None, 7, {}, "", "{}", "a:b", sign.__doc__])
def test_what_is_not_signed_is_refused(text: object) -> None:
    assert Reader("p").open(text) is None


def test_another_purpose_or_key_is_refused() -> None:
    assert Reader("p").open(sign("q", {})) is None
    forged = signing.Signer(key="guessed", salt="gmqtt.p").sign(f'[{time.time()},"n",{{}}]')
    assert Reader("p").open(forged) is None


@pytest.mark.parametrize("ahead", [WINDOW + 1, -WINDOW - 1])
def test_it_has_a_time(ahead: float) -> None:
    clock = Clock()
    clock.ahead = ahead
    assert Reader("p", clock).open(sign("p", {})) is None


def test_what_is_forgotten_is_too_old() -> None:
    clock = Clock()
    reader = Reader("p", clock)
    text = sign("p", {})
    assert reader.open(text) == {}
    for clock.ahead in (WINDOW - 1, WINDOW + 1, 2 * WINDOW + 1):
        assert reader.open(text) is None
    reader._seen = type(reader._seen)(old=0.0)
    clock.ahead = 0
    assert reader.open(sign("p", {})) == {}
    assert "old" not in reader._seen


def test_keys_rotate(settings: object) -> None:
    text, sealed = sign("p", {"a": 1}), sealing.seal("s", "text")
    old = settings.SECRET_KEY  # type: ignore[attr-defined]
    settings.SECRET_KEY = "new"  # type: ignore[attr-defined]
    assert Reader("p").open(text) is None
    with pytest.raises(sealing.CannotUnseal):
        sealing.unseal("s", sealed)
    settings.SECRET_KEY_FALLBACKS = [old]  # type: ignore[attr-defined]
    assert Reader("p").open(text) == {"a": 1}
    assert sealing.unseal("s", sealed) == "text"
    assert sealing.keys("s")[0] == sealing.key("s")
