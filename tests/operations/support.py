"""The commands as an operator runs them: processes of their own, on data directories of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from gmqtt_platform.backup import container
from gmqtt_platform.config.loader import ROOT
from tests.wire.nodes import environment


def run(data: Path, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """`gmqtt arguments` with the configuration of a node over `data`."""
    command = [sys.executable, "-m", "gmqtt_platform", *map(str, arguments)]
    environ = environment(data, **settings)
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120)


def ok(data: Path, *arguments: str | Path, **settings: str) -> str:
    done = run(data, *arguments, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shell(data: Path, script: str, **settings: str) -> str:
    return ok(data, "manage", "shell", "-v0", "-c", script, **settings)


def contents(path: Path, passphrase: bytes = b"") -> list[tuple[str, dict[str, Any]]]:
    """Every record, without what tells of the backup itself."""
    with path.open("rb") as file:
        return [record for record in container.read(file, passphrase) if record[0] != container.MANIFEST]
