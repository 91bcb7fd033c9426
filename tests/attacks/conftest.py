from __future__ import annotations

from tests.wire.conftest import shared, template

__all__ = ["shared", "template"]
