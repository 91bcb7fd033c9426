"""Records of Kafka, read for tests."""

from __future__ import annotations

from typing import Any

from apps.cluster.bridge import envelope
from apps.cluster.bridge.proof import MessageProof
from apps.cluster.bridge.records import Headers, Record
from apps.gateway.broker.messages import Message

PROOF = MessageProof([b"k" * 32])


NOW = 1_700_000_000.0


def record(headers: Headers, value: bytes | None = b"x", timestamp: float = NOW) -> Record:
    return Record("gmqtt.default", 0, 7, int(timestamp * 1000), b"key", value, headers)


def read(headers: Headers, value: bytes | None = b"x", **more: Any) -> tuple[Message, str, list[str]]:
    limits = {"max_size": 1000, "max_topic": 100, "max_levels": 5, "proof": PROOF} | more
    return envelope.message(record(headers, value), **limits)
