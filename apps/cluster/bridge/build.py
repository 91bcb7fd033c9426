"""The composition root of a host's bridge, and what it has in common with the nodes. Knows no models."""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from hashlib import blake2b
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from apps.cluster.bridge import librdkafka
from apps.cluster.bridge.bridge import Bridge
from apps.cluster.bridge.consumer_group import KafkaGroup
from apps.cluster.bridge.dead_letters import KafkaDeadLetters
from apps.cluster.bridge.librdkafka import BadOption, KafkaConf
from apps.cluster.bridge.node_consumer import Sizes
from apps.cluster.bridge.proof import PURPOSE, MessageProof
from apps.cluster.bridge.queue_consumer import QueueConsumer
from apps.cluster.bridge.reader import KafkaReader
from apps.cluster.bridge.topic_names import TopicNames
from apps.cluster.sessions.queues import QueueLimits, Queues
from apps.common import sealing
from gmqtt_platform.config import providers
from gmqtt_platform.config.loader import Conf

MARGIN: Final = 65_536  # bytes of a record's headers that are no MQTT properties


def kafka_conf(conf: Conf) -> KafkaConf:
    """ConfError where librdkafka does not take an option."""
    kafka = conf.broker.kafka
    found = KafkaConf(
        servers=tuple(address.netloc for address in kafka.bootstrap_servers),
        prefix=kafka.prefix,
        levels=kafka.topics,
        partitions=kafka.partitions,
        replication=kafka.replication_factor,
        buffer_bytes=kafka.buffer_bytes,
        buffer_timeout=kafka.buffer_timeout,
        max_record=min(conf.limits.max_packet_size + MARGIN, 1_000_000_000),
        options=kafka.options,
    )
    try:
        librdkafka.check_options(found)
    except BadOption as error:
        key = f"broker.kafka.options.{error.name}" if error.name else "broker.kafka.options"
        raise conf.error(key, str(error), "options of librdkafka that the platform does not set") from None
    return found


def topic_names(kafka: KafkaConf) -> TopicNames:
    return TopicNames(kafka.prefix, kafka.levels)


def message_proof() -> MessageProof:
    return MessageProof(sealing.keys(PURPOSE))


def bridge(conf: Conf) -> Bridge:
    """The bridge of this host's nodes."""
    kafka = kafka_conf(conf)
    names = topic_names(kafka)
    redis = Redis.from_url(conf.redis.url, socket_timeout=2, socket_connect_timeout=2)

    def claim(places: list[str]) -> list[bool]:
        with contextlib.suppress(RedisError):  # twice is better than not at all
            asked = redis.pipeline(transaction=False)
            for place in places:
                asked.set(f"{kafka.prefix}dead:{place}", 1, nx=True, ex=86_400)
            return [bool(answer) for answer in asked.execute()]
        return [True] * len(places)

    limits = conf.limits
    sizes = Sizes(limits.max_packet_size, limits.max_topic_length, limits.max_topic_levels, message_proof())
    most = QueueLimits(limits.max_queued_messages, limits.max_queued_bytes, limits.queue_full_policy)
    place = blake2b(str(conf.broker.kafka.bridge_socket).encode(), digest_size=8).hexdigest()
    member = f"bridge-{socket.gethostname()}-{place}"  # one bridge listens there

    kept = providers.find("sessions.provider", conf.sessions.provider).kept

    def queue_consumer() -> QueueConsumer:
        group = partial(KafkaGroup, kafka, f"{kafka.prefix}durable", member)
        return QueueConsumer(names, sizes, group, Queues(conf.redis.url, conf.cluster.prefix, most))

    return Bridge(
        conf.broker.kafka.bridge_socket,
        names,
        sizes,
        lambda node: KafkaReader(kafka, f"{kafka.prefix}live-{node}"),
        KafkaDeadLetters(kafka, names.dead_letter, claim),
        queue_consumer if kept == "cluster" else None,
    )
