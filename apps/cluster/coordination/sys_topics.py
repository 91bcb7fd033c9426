"""`$SYS/cluster/...`: what all nodes say of themselves. `$SYS/broker/...` is each node's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.cluster.coordination.node_port import NodePort

# Topic below a node's, and below the cluster's as a sum: key of what nodes say of themselves.
COUNTS: Final = {
    "clients/connected": "connections",
    "clients/total": "sessions",
    "subscriptions/count": "subscriptions",
    "publish/messages/received": "publishes_in",
    "publish/messages/sent": "publishes_out",
}


class ClusterSysTopics:
    def __init__(self, view: NodePort) -> None:
        self._view = view
        self._shown: set[str] = set()

    def show(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        """`nodes`: by name, what each says of itself."""
        figures = {"nodes/online": str(len(nodes))}
        for topic, key in COUNTS.items():
            figures[topic] = str(sum(int(said.get(key, 0)) for said in nodes.values()))
        for name, said in nodes.items():
            figures[f"nodes/{name}/version"] = str(said.get("version", ""))
            for topic, key in COUNTS.items():
                figures[f"nodes/{name}/{topic}"] = str(said.get(key, 0))
        for topic in self._shown - figures.keys():
            self._view.show(f"$SYS/cluster/{topic}", "")
        for topic, value in figures.items():
            self._view.show(f"$SYS/cluster/{topic}", value)
        self._shown = set(figures)
