"""What the node of this process gives to its console, its API and its health checks: one object.

The composition root builds it and installs it when the node runs. A process without a node (a management
command, a bridge, a test) has none: `current()` is then None, and `find` answers None for everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

T = TypeVar("T")

# A quick function: what /healthz says of a part; its `ok` is False while that part does not work.
Check = Callable[[], dict[str, Any]]
# A quick function: "" when ready, else why no new clients should be sent here.
Readiness = Callable[[], str]


@dataclass
class NodeServices:
    """`stats`: every counter and gauge of the node, read at each call."""

    name: str
    stats: Callable[[], dict[str, Any]]
    checks: dict[str, Check] = field(default_factory=dict)
    readiness: dict[str, Readiness] = field(default_factory=dict)
    _parts: dict[type[Any], Any] = field(default_factory=dict)

    def provide(self, kind: type[T], part: T) -> None:
        """`find(kind)` answers `part` from now on."""
        self._parts[kind] = part

    def find(self, kind: type[T]) -> T | None:
        return self._parts.get(kind)


class _Installed:
    services: NodeServices | None = None


_installed: Final = _Installed()


def install(services: NodeServices | None) -> None:
    """The node of this process runs; None: it has stopped."""
    _installed.services = services


def current() -> NodeServices | None:
    return _installed.services


def find(kind: type[T]) -> T | None:
    """The part of the running node that is a `kind`; None: there is no node here, or it has no such part."""
    services = _installed.services
    return services.find(kind) if services is not None else None
