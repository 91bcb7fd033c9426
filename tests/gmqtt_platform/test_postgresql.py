"""[database] url against a real PostgreSQL, started on a free port and in a directory of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gmqtt_platform.conftest import Manage


def program(name: str) -> str:
    """Debian keeps the server's programs out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(debian[-1]) if debian else None)
    if found is None:
        message = f"PostgreSQL's {name} is not installed"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    return found


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a database; its password holds what a URL must escape."""
    initdb, server = program("initdb"), program("pg_ctl")
    # PostgreSQL refuses to run as root; Debian's package brings a user for it.
    drop = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="gmqtt-pg-") as name, socket.socket() as probe:
        directory = Path(name)
        (directory / "password").write_text("p@ss/word")
        if drop:
            for path in (directory, directory / "password"):
                shutil.chown(path, "postgres")
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()

        def call(*command: str) -> None:
            subprocess.run([*drop, *command], cwd=directory, check=True, stdout=subprocess.DEVNULL)

        data = str(directory / "data")
        call(
            initdb,
            "-D",
            data,
            "-U",
            "ada",
            "-A",
            "scram-sha-256",
            f"--pwfile={directory}/password",
            "--no-sync",
        )
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {directory} -c fsync=off"
        call(server, "-D", data, "-o", options, "-l", f"{directory}/log", "-w", "start")
        try:
            yield f"postgresql://ada:p%40ss%2Fword@127.0.0.1:{port}/postgres?application_name=gmqtt"
        finally:
            call(server, "-D", data, "-m", "immediate", "stop")


def test_first_start(manage: Manage, postgresql: str, tmp_path: Path) -> None:
    migrated = manage("migrate", "--verbosity", "0", GMQTT_DATABASE__URL=postgresql)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    first = manage("ensure_operator", GMQTT_DATABASE__URL=postgresql)
    assert "operator / " in first.stdout
    assert manage("ensure_operator", GMQTT_DATABASE__URL=postgresql).stdout == ""
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret_key"]
