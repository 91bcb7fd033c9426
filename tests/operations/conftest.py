from __future__ import annotations

from tests.wire.conftest import certificates, start, template, tls_settings

__all__ = ["certificates", "start", "template", "tls_settings"]
