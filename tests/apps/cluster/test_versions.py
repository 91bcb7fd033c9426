"""What another version says is understood, passed over, or refused by name; never misunderstood."""

from __future__ import annotations

from typing import Any

import pytest

from apps.cluster.bridge import envelope, protocol
from apps.cluster.bridge.client import BridgeClient
from apps.cluster.bridge.envelope import BadRecord
from apps.cluster.coordination import versions
from apps.cluster.coordination.store import Store
from apps.cluster.coordination.versions import Incompatible
from tests.apps.cluster.bridge.records import read


def test_members_of_one_version() -> None:
    versions.check_members(
        {"a": {"protocol": versions.PROTOCOL, "what is new": 1}, "b": {"version": "0.2.0"}}
    )
    with pytest.raises(Incompatible, match="node b speaks version 2"):
        versions.check_members({"a": {}, "b": {"protocol": 2}})


async def test_data_of_another_format(redis_url: str) -> None:
    store = Store(redis_url, "versions", 5.0)
    try:
        versions.check_format(await store.settle(versions.FORMAT_KEY, str(versions.FORMAT)))
        await store._redis.set("versions:format", "2")
        with pytest.raises(Incompatible, match="format 2, this program reads 1"):
            versions.check_format(await store.settle(versions.FORMAT_KEY, str(versions.FORMAT)))
    finally:
        await store.close()


def test_headers_that_are_new_are_passed_over_a_new_version_is_not() -> None:
    topic = ("mqtt-topic", b"a/b")
    assert read([topic, ("what-is-new", b"x")])[0].topic == "a/b"
    assert read([topic, ("v", b"1")])[0].topic == "a/b"
    with pytest.raises(BadRecord) as refused:
        read([topic, (envelope.VERSION, b"2")])
    assert refused.value.reason == "unknown_version"


async def test_frames_that_are_new_are_passed_over() -> None:
    handed: list[Any] = []
    client = BridgeClient.__new__(BridgeClient)
    client._is_full = lambda: False  # type: ignore[method-assign]
    client._hand = handed.extend  # type: ignore[method-assign,assignment]
    client._positions = {}

    class Writer:
        def write(self, data: bytes) -> None: ...

    await client._heard([99, "what is new"], Writer())  # type: ignore[arg-type]
    await client._heard([protocol.BATCH, 1, ["m"], [], "what is new"], Writer())  # type: ignore[arg-type]
    assert handed == ["m"]
