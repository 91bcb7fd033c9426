"""MQTT.js, in every version it speaks, over TCP, TLS, WebSocket and secure WebSocket."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tests.wire.certs import Certificates
from tests.wire.nodes import Node
from tests.wire.programs import find, needs
from tests.wire.raw import VERSIONS

pytestmark = needs("node", "npm")
HERE = Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def packages() -> Path:
    """A directory under build/ with the locked packages, installed once for a lock file."""
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:16]
    installed = ROOT / "build" / f"wire-js-{lock}"
    if not installed.exists():
        installed.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=installed.parent) as directory:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, directory)
            command = [find("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run(command, cwd=directory, check=True, capture_output=True, timeout=120)
            try:
                Path(directory).rename(installed)
            except OSError:  # another worker was faster
                assert installed.exists()
            else:
                Path(directory).mkdir()  # for its clean-up
    return installed


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws", "wss"])
def test_mqttjs(node: Node, certificates: Certificates, packages: Path, scheme: str, version: int) -> None:
    port = {"mqtt": node.tcp, "mqtts": node.tls, "ws": node.ws, "wss": node.wss}[scheme]
    url = f"{scheme}://localhost:{port}" + (node.path if "ws" in scheme else "")
    command = [find("node"), str(HERE / "flow.mjs"), url, str(version), str(certificates.ca)]
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
