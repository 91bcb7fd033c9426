"""A large payload is in memory once, however many subscribers have not read it yet."""

from __future__ import annotations

import pytest

from apps.gateway.mqtt import packets as p
from tests.apps.gateway.support.world import World


@pytest.mark.parametrize("level", (4, 5))
def test_subscribers_share_the_bytes(world: World, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    payload = bytes(100_000)
    pieces: list[bytes] = []
    readers = [world.join(f"r{number}", level) for number in range(3)]
    for reader in readers:
        reader.subscribe("t", qos=1)
        write = reader.link.write
        monkeypatch.setattr(
            reader.link, "write", lambda data, write=write: (pieces.append(data), write(data))[1]
        )
    writer = world.join("w", level)
    writer.send(
        p.Publish("t", b"before", 1, packet_id=1),
        p.Publish("t", payload, 1, packet_id=2),
        p.Publish("t", b"after", 1, packet_id=3),
    )
    large = [piece for piece in pieces if len(piece) >= len(payload)]
    assert len(large) == 3 and len(set(map(id, large))) == 1
    for reader in readers:
        assert reader.payloads() == [b"before", payload, b"after"]
