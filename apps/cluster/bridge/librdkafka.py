"""librdkafka, by way of confluent-kafka: what is set for each of its clients, topics, errors."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic  # type: ignore[attr-defined]

logger = logging.getLogger("gmqtt.kafka")
REPEATED: Final = 30.0  # seconds in which librdkafka's clients say the same thing once
MAX_KNOWN: Final = 1000  # things that were said


class _Once(logging.Filter):
    """While Kafka is away each of its clients says so about once a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage().partition(" (after ")[0]
        now = time.monotonic()
        if now - self._said.get(text, float("-inf")) < REPEATED:
            return False
        if len(self._said) >= MAX_KNOWN:
            self._said.clear()
        self._said[text] = now
        return True


logger.addFilter(_Once())

# What the promises of the platform rest on, or what it sets by other keys: not for [broker.kafka.options].
OURS: Final = frozenset(
    (
        "acks", "request.required.acks", "auto.offset.reset", "bootstrap.servers", "metadata.broker.list",
        "client.id", "delivery.timeout.ms", "enable.auto.commit", "enable.auto.offset.store",
        "enable.idempotence", "enable.partition.eof", "group.id", "group.instance.id", "message.timeout.ms",
        "max.in.flight", "max.in.flight.requests.per.connection", "partitioner", "message.max.bytes",
        "queue.buffering.max.kbytes", "queue.buffering.max.messages", "transactional.id",
    )
)  # fmt: skip


@dataclass(frozen=True)
class KafkaConf:
    """The table [broker.kafka] as the clients need it."""

    servers: tuple[str, ...]
    prefix: str
    levels: tuple[str, ...]
    partitions: int
    replication: int
    buffer_bytes: int
    buffer_timeout: int  # seconds
    max_record: int  # bytes
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    def client(self, name: str, **more: Any) -> dict[str, Any]:
        """The configuration of one client of librdkafka."""
        return {
            "socket.nagle.disable": True,  # else small requests wait for the answers to those before them
            **self.options,
            "bootstrap.servers": ",".join(self.servers),
            "client.id": name,
            "logger": logger,
            "log.connection.close": False,
            **more,
        }


class BadOption(Exception):
    """librdkafka does not take an option; `name` says which."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


def check_options(conf: KafkaConf) -> None:
    """Raise `BadOption` where the options cannot be used."""
    for name in conf.options:
        if name in OURS:
            raise BadOption(name, "an option that the platform sets itself")
    try:
        AdminClient(conf.client("gmqtt-check", log_level=0))
    except (KafkaException, TypeError, ValueError) as error:
        text = error.args[0].str() if error.args and isinstance(error.args[0], KafkaError) else str(error)
        named = re.search(r'property[: ]+"([A-Za-z0-9._]+)"', text)
        known = named[1] if named and named[1] in conf.options else ""
        unknown = "No such configuration property" in text
        # Never the text itself: it can hold a value, and that a password.
        raise BadOption(known, "an unknown option" if unknown else "a value that cannot be used") from None


def create_topics(conf: KafkaConf, topics: Iterable[str], timeout: float = 10.0) -> dict[str, str]:
    """Make those of `topics` that are not there; name -> error for what could not be made.

    Raises KafkaException while the brokers do not answer.
    """
    admin = AdminClient(conf.client("gmqtt-admin"))
    there = admin.list_topics(timeout=timeout).topics
    wanted = [
        NewTopic(
            name,
            conf.partitions,
            conf.replication,
            # The brokers' clock: by it a node asks for what came since a subscription, and messages expire.
            config={"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(conf.max_record)},
        )
        for name in topics
        if name not in there
    ]
    if not wanted:
        return {}
    failed: dict[str, str] = {}
    for name, made in admin.create_topics(wanted, request_timeout=timeout).items():
        try:
            made.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # another node was quicker
                failed[name] = error.args[0].str()
    return failed


def record_limits(conf: KafkaConf, topics: Iterable[str], timeout: float = 10.0) -> dict[str, int]:
    """`max.message.bytes` of each topic that says it; nothing of those that are not there or may not be read.

    Raises KafkaException while the brokers do not answer.
    """
    admin = AdminClient(conf.client("gmqtt-admin"))
    there = admin.list_topics(timeout=timeout).topics
    wanted = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in sorted(topics) if name in there]
    found: dict[str, int] = {}
    if not wanted:
        return found
    for resource, answer in admin.describe_configs(wanted, request_timeout=timeout).items():
        try:
            found[resource.name] = int(answer.result()["max.message.bytes"].value)
        except (KafkaException, KeyError, TypeError, ValueError) as error:
            logger.warning("Kafka does not tell the limit of %s: %s", resource.name, error)
    return found
