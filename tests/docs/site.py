"""The built documentation and what is written in it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gmqtt_platform.config.loader import ROOT

SITE = ROOT / "build" / "docs"
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def built() -> Path:
    """build/docs, made where it is not current; a second process waits for the first."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GMQTT_")}
    command = [sys.executable, "-m", "tools.docs.build"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return SITE


@dataclass(frozen=True)
class Block:
    page: Path
    language: str
    text: str


def sources() -> list[Path]:
    return [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


def blocks(language: str, page: Path | None = None) -> Iterator[Block]:
    """The fenced blocks of a language, on one page or on all."""
    for each in [page] if page else sources():
        for found in FENCE.finditer(each.read_text()):
            if found[1] == language:
                yield Block(each, language, found[2])
