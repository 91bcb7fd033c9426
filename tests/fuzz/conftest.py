from __future__ import annotations

from tests.wire.conftest import template

__all__ = ["template"]
