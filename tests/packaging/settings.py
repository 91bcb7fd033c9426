"""What the container image sets."""

from __future__ import annotations

from gmqtt_platform.config.loader import ROOT


def image_settings() -> dict[str, str]:
    """The GMQTT_* of the Dockerfile."""
    words = (ROOT / "Dockerfile").read_text().split()
    return dict(word.split("=", 1) for word in words if word.startswith("GMQTT_") and "=" in word)
