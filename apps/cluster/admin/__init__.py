"""The console's pages about the cluster: what is going on, and what operators do about it."""

from __future__ import annotations

from apps.cluster.admin import exports, lists, nodes, sessions  # noqa: F401  # they register themselves
