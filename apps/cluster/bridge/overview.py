"""What operators see of Kafka: brokers, our topics, our consumer groups and how far they are behind."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec, TopicMetadata  # type: ignore[attr-defined]

from apps.cluster.bridge.librdkafka import KafkaConf
from apps.cluster.bridge.operators import Silent

WAIT: Final = 2.0  # seconds for each question
MAX_GROUPS: Final = 100
MAX_PARTITIONS: Final = 2000  # whose offsets are asked for

Offsets = dict[tuple[str, int], int]  # of topics and partitions


class KafkaOverview:
    """`apps.cluster.bridge.operators.KafkaLog`. Its client is made when somebody first looks, and kept."""

    def __init__(self, conf: KafkaConf) -> None:
        self._conf = conf
        self._admin: AdminClient | None = None
        self._lock = threading.Lock()

    def overview(self) -> dict[str, Any]:
        try:
            return self._overview(self._client())
        except KafkaException as error:
            raise Silent(error.args[0].str()) from None

    def _client(self) -> AdminClient:
        with self._lock:
            if self._admin is None:
                self._admin = AdminClient(self._conf.client("gmqtt-console"))
            return self._admin

    def _overview(self, admin: AdminClient) -> dict[str, Any]:
        metadata = admin.list_topics(timeout=WAIT)
        ours = [each for each in metadata.topics.values() if str(each.topic).startswith(self._conf.prefix)]
        groups = self._groups(admin)
        committed = {name: self._committed(admin, name) for name in groups}
        places = {(str(each.topic), number) for each in ours for number in each.partitions}
        asked = sorted(places.union(*committed.values()))[:MAX_PARTITIONS]
        first = self._offsets(admin, asked, OffsetSpec.earliest())
        last = self._offsets(admin, asked, OffsetSpec.latest())
        head = metadata.controller_id
        brokers = [
            {"id": each.id, "address": f"{each.host}:{each.port}", "controller": each.id == head}
            for each in metadata.brokers.values()
        ]
        topics = [_topic(each, first, last) for each in sorted(ours, key=lambda each: str(each.topic))]
        lags = [{**groups[name], "name": name, **_lag(committed[name], last)} for name in sorted(groups)]
        return {"brokers": brokers, "topics": topics, "groups": lags}

    def _groups(self, admin: AdminClient) -> dict[str, dict[str, Any]]:
        """Name -> state and members, of those with our prefix."""
        listed = admin.list_consumer_groups(request_timeout=WAIT).result()
        names = sorted(each.group_id for each in listed.valid if each.group_id.startswith(self._conf.prefix))
        if not names:
            return {}
        found = {}
        for name, answer in admin.describe_consumer_groups(names[:MAX_GROUPS], request_timeout=WAIT).items():
            group = answer.result()
            found[name] = {"state": group.state.name.lower(), "members": len(group.members)}
        return found

    def _committed(self, admin: AdminClient, group: str) -> Offsets:
        asked = [ConsumerGroupTopicPartitions(group)]
        answer = admin.list_consumer_group_offsets(asked, request_timeout=WAIT)[group].result()
        return {(each.topic, each.partition): each.offset for each in answer.topic_partitions}

    def _offsets(self, admin: AdminClient, places: list[tuple[str, int]], spec: OffsetSpec) -> Offsets:
        if not places:
            return {}
        asked = {TopicPartition(topic, number): spec for topic, number in places}
        found = {}
        for place, answer in admin.list_offsets(asked, request_timeout=WAIT).items():
            try:
                found[place.topic, place.partition] = answer.result().offset
            except KafkaException:  # a partition without a leader; the list of topics says so
                continue
        return found


def _topic(found: TopicMetadata, first: Offsets, last: Offsets) -> dict[str, Any]:
    partitions = found.partitions
    places = [(str(found.topic), number) for number in partitions]
    return {
        "name": found.topic,
        "partitions": len(partitions),
        "replicas": min((len(each.replicas) for each in partitions.values()), default=0),
        "in_sync": min((len(each.isrs) for each in partitions.values()), default=0),
        "records": sum(last.get(place, 0) - first.get(place, 0) for place in places),
    }


def _lag(committed: Offsets, last: Offsets) -> dict[str, Any]:
    by_topic: dict[str, int] = defaultdict(int)
    for (topic, number), offset in committed.items():
        end = last.get((topic, number))
        if end is not None:
            by_topic[topic] += max(end - max(offset, 0), 0)
    topics = [{"topic": topic, "lag": lag} for topic, lag in sorted(by_topic.items())]
    return {"lag": sum(by_topic.values()), "topics": topics}
