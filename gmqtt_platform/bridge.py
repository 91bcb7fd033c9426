"""The composition root of a host's bridge, and what it has in common with the nodes. Knows no models."""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from hashlib import blake2b
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from apps.cluster.durable.queues import QueueLimits, Queues
from apps.cluster.kafka import client
from apps.cluster.kafka.bridge import Bridge
from apps.cluster.kafka.client import BadOption, KafkaConf
from apps.cluster.kafka.deadletter import KafkaDeadLetters
from apps.cluster.kafka.group import KafkaGroup
from apps.cluster.kafka.names import TopicNames
from apps.cluster.kafka.queueing import Queueing
from apps.cluster.kafka.reader import KafkaReader
from apps.cluster.kafka.serving import Sizes
from gmqtt_platform.conf import Conf

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
        client.check_options(found)
    except BadOption as error:
        key = f"broker.kafka.options.{error.name}" if error.name else "broker.kafka.options"
        raise conf.error(key, str(error), "options of librdkafka that the platform does not set") from None
    return found


def topic_names(kafka: KafkaConf) -> TopicNames:
    return TopicNames(kafka.prefix, kafka.levels)


def bridge(conf: Conf) -> Bridge:
    """The bridge of this host's nodes."""
    kafka = kafka_conf(conf)
    names = topic_names(kafka)
    redis = Redis.from_url(conf.redis.url, socket_timeout=2, socket_connect_timeout=2)

    def claim(place: str) -> bool:
        with contextlib.suppress(RedisError):  # twice is better than not at all
            return bool(redis.set(f"{kafka.prefix}dead:{place}", 1, nx=True, ex=86_400))
        return True

    limits = conf.limits
    sizes = Sizes(limits.max_packet_size, limits.max_topic_length, limits.max_topic_levels)
    most = QueueLimits(limits.max_queued_messages, limits.max_queued_bytes, limits.queue_full_policy)
    place = blake2b(str(conf.broker.kafka.bridge_socket).encode(), digest_size=8).hexdigest()
    member = f"bridge-{socket.gethostname()}-{place}"  # one bridge listens there

    def queueing() -> Queueing:
        group = partial(KafkaGroup, kafka, f"{kafka.prefix}durable", member)
        return Queueing(names, sizes, group, Queues(conf.redis.url, conf.cluster.prefix, most))

    return Bridge(
        conf.broker.kafka.bridge_socket,
        names,
        sizes,
        lambda node: KafkaReader(kafka, f"{kafka.prefix}live-{node}"),
        KafkaDeadLetters(kafka, names.dead_letter, claim),
        queueing if conf.sessions.provider == "redis" else None,
    )
