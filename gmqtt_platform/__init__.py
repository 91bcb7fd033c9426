"""The only place that knows every app: settings, configuration, URLs, wiring."""

from __future__ import annotations

__version__ = "0.2.0"
