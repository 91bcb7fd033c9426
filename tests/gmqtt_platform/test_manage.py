from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.gmqtt_platform.conftest import Manage


def test_a_good_configuration_starts(manage: Manage) -> None:
    done = manage("check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"GMQTT_CONF": "/nonexistent.toml"}, ["/nonexistent.toml", "No such file"]),
        ({"GMQTT_LIMITS__MAX_PAKET_SIZE": "1"}, ["did you mean GMQTT_LIMITS__MAX_PACKET_SIZE?"]),
        ({"GMQTT_LIMITS__CONNECT_TIMEOUT": "x"}, ["limits.connect_timeout", '"x"', "from 1 to 3600"]),
        ({"GMQTT_LISTENERS__TCP": "tcp://0.0.0.0:1883"}, ["listeners.tcp", "auth.allow_anonymous = true"]),
        ({"GMQTT_BROKER__PROVIDER": "rabbit"}, ["broker.provider", '"rabbit"', "allowed: mock"]),
        ({"GMQTT_NODE__DATA_DIR": "/proc/gmqtt"}, ["node.data_dir", '"/proc/gmqtt"', "write to"]),
        ({"GMQTT_NODE__DATA_DIR": "/dev/null"}, ["node.data_dir", '"/dev/null"', "write to"]),
    ],
)
def test_a_bad_configuration_ends_with_2_and_one_line(
    manage: Manage, environ: dict[str, str], words: list[str]
) -> None:
    done = manage("check", **environ)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("configuration error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_a_bad_file_ends_with_2(manage: Manage, tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[limits]\nconnect_timeout = \n")
    done = manage("check", GMQTT_CONF=str(file))
    assert done.returncode == 2
    assert str(file) in done.stderr
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr


def test_first_start(manage: Manage, tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert manage("migrate", "--verbosity", "0").returncode == 0
    secret = (data / "secret_key").read_text()
    assert len(secret) == 64
    assert data.stat().st_mode & 0o777 == 0o700
    assert (data / "secret_key").stat().st_mode & 0o777 == 0o600
    assert (data / "db.sqlite3").stat().st_mode & 0o777 == 0o600

    first = manage("ensure_operator")
    assert (first.returncode, first.stderr) == (0, "")
    assert "operator / " in first.stdout
    again = manage("ensure_operator")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")

    assert sorted(path.name for path in data.iterdir()) == ["db.sqlite3", "secret_key"]
    assert (data / "secret_key").read_text() == secret


@pytest.mark.parametrize(
    ("environ", "hosts", "secure"),
    [
        ({}, "['localhost', '127.0.0.1', '[::1]', '127.0.0.1']", False),
        ({"GMQTT_LISTENERS__HTTP": ""}, "['localhost', '127.0.0.1', '[::1]']", True),
        ({"GMQTT_LISTENERS__HTTP": "gw.example.com:80"}, "[..., 'gw.example.com']", False),
        ({"GMQTT_LISTENERS__HTTP": "[2001:db8::1]:80"}, "[..., '[2001:db8::1]']", False),
        ({"GMQTT_LISTENERS__HTTP": "0.0.0.0:80"}, f"[..., '{socket.gethostname()}']", False),
    ],
)
def test_who_may_ask_for_the_admin(manage: Manage, environ: dict[str, str], hosts: str, secure: bool) -> None:
    script = "from django.conf import settings as s; print(s.ALLOWED_HOSTS, s.SESSION_COOKIE_SECURE)"
    done = manage("shell", "--no-imports", "-c", script, GMQTT_AUTH__ALLOW_ANONYMOUS="true", **environ)
    expected = hosts.replace("...", "'localhost', '127.0.0.1', '[::1]'")
    assert done.stdout == f"{expected} {secure}\n"
