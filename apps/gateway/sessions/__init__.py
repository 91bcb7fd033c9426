from __future__ import annotations

from apps.gateway import compiled

__path__ = compiled.path(__name__, __path__)
