"""The command `gmqtt`, in this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import shtab

from gmqtt_platform import command
from gmqtt_platform.config.loader import ROOT, load

COMMANDS = {"run", "bridge", "auth", "worker", "cluster", "init", "migrate", "create-operator", "status"}


def test_one_command_for_everything(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.run(["--help"])
    assert set(capsys.readouterr().out.split()) >= COMMANDS


@pytest.mark.parametrize("shell", shtab.SUPPORTED_SHELLS)
def test_completion_knows_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in COMMANDS)


def test_bash_reads_its_completion() -> None:
    script = shtab.complete(command.parser(), "bash")
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["cl"], {"clients", "cluster"}),
        (["clients", ""], {"list", "show", "kick"}),
        (["run", "--no"], {"--no-prepare"}),
        (["ban", "add", ""], {"client_id", "username", "address", "pattern"}),
    ],
)
def test_bash_completes(typed: list[str], offered: set[str]) -> None:
    words = " ".join(f"'{word}'" for word in ["gmqtt", *typed])
    ask = f"COMP_WORDS=({words}); COMP_CWORD={len(typed)}; COMPREPLY=(); _shtab_gmqtt; echo ${{COMPREPLY[@]}}"
    script = f"{shtab.complete(command.parser(), 'bash')}\n{ask}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert offered <= set(done.stdout.split()), done.stderr


@pytest.mark.parametrize("options", [[], ["--cluster"]])
def test_init_writes_a_configuration_once(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.run(["init", *options]) == 0
    load({"GMQTT_CONF": str(tmp_path / "gmqtt.toml")})
    assert command.run(["init", *options]) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["bridge"], "--bridge"),
        (["bridge", "--loglevel", "debug"], "--loglevel"),
        (["worker"], "worker@"),
    ],
)
def test_bridge_and_worker_become_celery(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []
    monkeypatch.setattr(command.os, "execv", lambda program, given: started.extend(given))
    command.run(arguments)
    assert started[1:4] == ["-m", "celery", "-A"]
    assert expected in " ".join(started)
    assert ("--bridge" in started) is (arguments[0] == "bridge")


def test_a_configuration_error_is_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gmqtt_platform", "migrate"],
        cwd=ROOT,
        env={"GMQTT_NODE__NAME": "!", "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "node.name" in done.stderr and "Traceback" not in done.stderr
