"""A cluster of processes, asked and changed as an operator does it on one of its machines."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tools.cluster import ROOT, Cluster


def ask(cluster: Cluster, *words: str) -> Any:
    """By the command line, of the first node."""
    url = f"http://127.0.0.1:{cluster.nodes[0].http}"
    command = [sys.executable, "manage.py", "gmqtt", "--url", url, "--json", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=cluster.environ(0), capture_output=True, text=True, timeout=60
    )
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def shell(cluster: Cluster, code: str) -> None:
    """Python, with the models, in a process of its own."""
    command = [sys.executable, "manage.py", "shell", "-c", code]
    subprocess.run(command, cwd=ROOT, env=cluster.environ(0), check=True, timeout=60)
