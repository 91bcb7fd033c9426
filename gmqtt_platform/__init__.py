"""The only place that knows every app: settings, configuration, URLs, wiring."""

from __future__ import annotations

__version__ = "0.2.0"
__date__ = "2026-11-27"  # of the release, or of the work on the next one: no right clock is before it
