"""The [broker] table and [broker.kafka]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gmqtt_platform.config import providers
from gmqtt_platform.config.values import (
    HOME,
    Address,
    bare_address,
    choice,
    integer,
    items,
    options,
    text,
)

RESERVED = ("default", "deadletter")  # Kafka topics that no first level of an MQTT topic takes
_LEVEL = '1 to 64 of: letters, digits, ".", "_", "-"; not "default" or "deadletter"'
_PREFIX = '0 to 64 of: letters, digits, ".", "_", "-"'
LONGEST_PATH = 100  # bytes that the path of a Unix socket may have


def _word(raw: str) -> str:
    if not all(each.isascii() and (each.isalnum() or each in "._-") for each in raw) or len(raw) > 64:
        raise ValueError
    return raw


def _level(raw: str) -> str:
    if not raw or raw in RESERVED:
        raise ValueError
    return _word(raw)


def _server(raw: str) -> Address:
    found = bare_address("kafka")(raw)
    if found is None or not found.port:
        raise ValueError
    return found


def _socket(raw: str) -> Path:
    path = HOME / raw
    if not raw or len(str(path).encode()) > LONGEST_PATH:
        raise ValueError
    return path


@dataclass(frozen=True, slots=True)
class KafkaConf:
    bootstrap_servers: tuple[Address, ...] = items(["127.0.0.1:9092"], _server, "host:port")
    prefix: str = text("gmqtt.", _word, _PREFIX)
    topics: tuple[str, ...] = items([], _level, _LEVEL)
    partitions: int = integer(6, 1, 1000)
    replication_factor: int = integer(1, 1, 10)
    buffer_bytes: int = integer(67_108_864, 65_536, 2**40)
    buffer_timeout: int = integer(30, 1, 3600)
    bridge_socket: Path = text("var/bridge.sock", _socket, f"a path of at most {LONGEST_PATH} bytes")
    options: Mapping[str, str] = options()


@dataclass(frozen=True, slots=True)
class BrokerConf:
    provider: str = choice("mock", providers.names("broker.provider"))
    kafka: KafkaConf = field(default_factory=KafkaConf)


TABLES = {"broker": BrokerConf, "broker.kafka": KafkaConf}


def complaint(broker: BrokerConf) -> tuple[str, str, str] | None:
    """What no single key can tell, as (key, found, allowed); None: all is well."""
    if providers.find("broker.provider", broker.provider).cluster and not broker.kafka.bootstrap_servers:
        return (
            "broker.kafka.bootstrap_servers",
            "[]",
            f'at least one: broker.provider = "{broker.provider}" needs it',
        )
    if len(set(broker.kafka.topics)) != len(broker.kafka.topics):
        return "broker.kafka.topics", "the same level twice", "each level once"
    return None
