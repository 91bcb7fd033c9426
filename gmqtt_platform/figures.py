"""What a node shows in /metrics beside its counters."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from apps.cluster.node_rpc import rpc
from apps.console import sources
from apps.gateway.broker.histogram import BUCKETS
from apps.gateway.broker.node import Node
from gmqtt_platform import exporter

if TYPE_CHECKING:
    from apps.cluster.node import NodeCluster

SOON: Final = 1.0  # seconds in which a node answers to be counted among the cluster's

Answers = tuple[dict[str, Any], list[str]]


def show_loop(lag: Callable[[], float], tasks: Callable[[], int]) -> None:
    """`lag`: by how many seconds the event loop was late."""
    sources.gauges["loop_lag_seconds"] = ("By how much the event loop was late.", lag)
    sources.gauges["asyncio_tasks"] = ("Tasks of the node's event loop.", lambda: float(tasks()))


def show(node: Node, cluster: NodeCluster | None) -> Callable[[], Coroutine[Any, Any, Answers]]:
    """Answers what asks all nodes of the cluster."""
    exporter.of_any_process()
    shown = sources.histograms
    text = "From a CONNECT that was read to its answer."
    shown["connect_seconds"] = (text, BUCKETS, node.stats.connect_seconds)
    text = "Of a loop turn's PUBLISHes whose acknowledgements wait: until they are durable."
    shown["puback_wait_seconds"] = (text, BUCKETS, node.stats.ack_seconds)
    if cluster is not None:
        _show_kafka(cluster)

    async def of_cluster() -> Answers:
        names = sorted({node.name, *(cluster.member.nodes if cluster is not None else ())})
        answers = await rpc.acall_all(names, "stats", SOON)
        return answers.found, sorted(answers.missing)

    sources.cluster_stats = of_cluster
    return of_cluster


def _show_kafka(cluster: NodeCluster) -> None:
    producer = cluster.producer

    def figure(name: str) -> Callable[[], float]:
        return lambda: float(producer.status()[name])  # type: ignore[arg-type]

    text = "A batch of records: from the first that was sent to the last delivery report."
    sources.histograms["kafka_delivery_seconds"] = (text, BUCKETS, producer.delivery_seconds)
    gauges, counters = sources.gauges, sources.counters
    gauges["kafka_waiting_records"] = ("Records on their way to Kafka.", figure("waiting"))
    gauges["kafka_waiting_bytes"] = ("Bytes on their way to Kafka.", figure("waiting_bytes"))
    counters["kafka_delivered_records"] = ("Records that Kafka has.", figure("delivered"))
    counters["kafka_failed_records"] = ("Records that Kafka did not take.", figure("failed"))
    counters["kafka_refused_records"] = ("Records for which there was no room.", figure("refused"))
    text = "Records that the bridge has not read for this node."
    gauges["bridge_lag"] = (text, lambda: float(cluster.bridge_status().get("lag") or 0))
