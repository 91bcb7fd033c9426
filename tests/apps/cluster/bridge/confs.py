from __future__ import annotations

import dataclasses
from typing import Any

from apps.cluster.bridge.librdkafka import KafkaConf


def kafka_conf(servers: str, prefix: str, **more: Any) -> KafkaConf:
    conf = KafkaConf(
        servers=(servers,),
        prefix=prefix,
        levels=("telemetry", "commands"),
        partitions=2,
        replication=1,
        buffer_bytes=100_000,
        buffer_timeout=10,
        max_record=2_000_000,
    )
    return dataclasses.replace(conf, **more)
