"""A process that has a node, for tests of what shows or uses its parts."""

from __future__ import annotations

from typing import Any

import pytest

from apps.common import node_services
from apps.common.node_services import NodeServices


def provide(monkeypatch: pytest.MonkeyPatch, parts: dict[type[Any], Any], **stats: Any) -> NodeServices:
    """Until the end of the test `node_services.find(kind)` answers `parts[kind]`."""
    services = NodeServices("test", lambda: dict(stats))
    for kind, part in parts.items():
        services.provide(kind, part)
    monkeypatch.setattr(node_services._installed, "services", services)
    return services
