"""Two processes under one name: the second is told so, and ends."""

from __future__ import annotations

import subprocess
import sys

from tools.cluster import ROOT, Cluster


def test_a_name_that_another_node_has(cluster: Cluster) -> None:
    taken = cluster.nodes[1]
    environ = cluster.environ(1, LISTENERS__TCP="tcp://127.0.0.1:0", LISTENERS__HTTP="127.0.0.1:0")
    done = subprocess.run(
        [sys.executable, "manage.py", "rungateway"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "node.name" in done.stderr and taken.name in done.stderr and "Traceback" not in done.stderr
    assert not taken.has_ended
