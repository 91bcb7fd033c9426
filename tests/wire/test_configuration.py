"""Configuration of a node that runs: seen with its sources, compared, read again, refused, dumped."""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from gmqtt_platform import command
from gmqtt_platform.config.effective import changes
from gmqtt_platform.config.loader import ConfError, check, load
from gmqtt_platform.reloading import is_live, with_keys
from tests.wire.nodes import Node, until
from tests.wire.raw import V5, Closed, Raw

SECRET = "a-token-that-nobody-may-see"
FIRST = f"""
[node]
drain_rate = 7
[limits]
max_subscriptions = 5
[console]
metrics_token = "{SECRET}"
[log]
level = "warning"
"""

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def conf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("conf") / "conf.toml"
    path.write_text(FIRST)
    return path


@pytest.fixture(scope="module")
def node(template: Path, conf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    folder = tmp_path_factory.mktemp("configured")
    (folder / "rate").write_text("50\n")
    started = Node(
        folder / "data",
        template,
        CONF=str(conf),
        NODE__NAME="configured",
        LIMITS__PUBLISH_RATE_FILE=str(folder / "rate"),
    )
    yield started
    assert started.stop() == 0, started.log()
    assert "Traceback" not in started.log()


@pytest.fixture
def run(node: Node, conf: Path, settings: Any) -> Run:
    """`run("show")`: what `gmqtt config show` says, as JSON."""
    conf.write_text(FIRST)
    settings.SECRET_KEY = (node.data_dir / "secret_key").read_text().strip()

    def ask(*arguments: str) -> Any:
        out = io.StringIO()
        call_command("gmqtt", "--url", f"http://127.0.0.1:{node.ws}", "--json", *arguments, stdout=out)
        return json.loads(out.getvalue())

    assert ask("config", "reload", "configured")["error"] == ""
    return ask


def by_key(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in rows}


def test_each_value_has_its_source(run: Run, node: Node) -> None:
    until(lambda: run("nodes", "list"))
    rows = by_key(run("config", "show", "configured"))
    found = {key: (rows[key]["value"], rows[key]["source"]) for key in rows}
    assert found["node.drain_rate"] == (7, "file")
    assert found["node.name"] == ("configured", "GMQTT_NODE__NAME")
    assert found["limits.publish_rate"] == (50, "GMQTT_LIMITS__PUBLISH_RATE_FILE")
    assert found["limits.max_sessions"] == (1_000_000, "default")
    assert found["listeners.tcp"] == (["tcp://127.0.0.1:0"], "GMQTT_LISTENERS__TCP")
    assert found["console.metrics_token"] == ("***", "file")
    assert SECRET not in json.dumps(rows)
    assert rows["limits.max_subscriptions"]["live"] and not rows["node.name"]["live"]


def test_the_difference_and_the_reload(run: Run, node: Node, conf: Path) -> None:
    assert run("config", "diff", "configured") == []
    changed = FIRST.replace("= 5", "= 6").replace(SECRET, SECRET + "-2") + '[sessions]\nfsync = "commit"\n'
    conf.write_text(changed)
    rows = by_key(run("config", "diff", "configured"))
    assert set(rows) == {"limits.max_subscriptions", "console.metrics_token", "sessions.fsync"}
    assert (rows["sessions.fsync"]["in_force"], rows["sessions.fsync"]["in_file"]) == ("never", "commit")
    assert rows["console.metrics_token"]["in_file"] == "*** (another)"
    done = run("config", "reload", "configured")
    assert set(done["in_force"]) == {"limits.max_subscriptions", "console.metrics_token"}
    assert done["needs_restart"] == ["sessions.fsync"]
    assert set(by_key(run("config", "diff", "configured"))) == {"sessions.fsync"}
    assert run("config", "reload", "configured")["needs_restart"] == ["sessions.fsync"]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("[limits]\nmax_subscriptions = many", "max_subscriptions|Invalid value"),
        ('[auth]\nclient = ["django"]', "lock everybody out"),
        ('[auth]\nmock = "failure"', "lock everybody out"),
        ('[auth]\nacl = ["django"]', "lock everybody out"),
        ("[auth.guard]\nconnects_per_client = 1", "lock everybody out"),
    ],
)
def test_what_is_refused_leaves_everything_as_it_was(
    run: Run, node: Node, conf: Path, more: str, why: str
) -> None:
    before = run("config", "show", "configured")
    conf.write_text(FIRST.replace("= 7", "= 8").replace("[limits]\nmax_subscriptions = 5", "") + more)
    with pytest.raises(CommandError, match=why) as refused:
        run("config", "reload", "configured")
    assert refused.value.returncode == 1
    with Raw(node.tcp) as client:
        client.connect(V5, "still")
    conf.write_text(FIRST)
    with pytest.raises(CommandError, match=why):
        run("config", "show", "configured")  # which says so until a file is taken
    run("config", "reload", "configured")
    assert run("config", "show", "configured") == before


def test_who_may_connect_changes_while_clients_are_connected(run: Run, node: Node, conf: Path) -> None:
    """jwt is a way in that cannot be tried, so it is not refused; mock is no way in any more."""
    with Raw(node.tcp) as client:
        client.connect(V5, "early")
        secret = "0123456789abcdef0123456789abcdef"
        conf.write_text(FIRST + f'[auth]\nclient = ["jwt"]\n[auth.jwt]\nsecret = "{secret}"\n')
        assert set(run("config", "reload", "configured")["in_force"]) == {"auth.client", "auth.jwt.secret"}
        assert secret not in json.dumps(run("config", "show", "configured"))
        with pytest.raises((Closed, AssertionError)), Raw(node.tcp) as late:
            late.connect(V5, "late")
        client.ping()
    conf.write_text(FIRST)
    run("config", "reload", "configured")
    with Raw(node.tcp) as late:
        late.connect(V5, "late")


def test_hups_in_the_middle_of_a_reload(run: Run, node: Node, conf: Path) -> None:
    for count in range(20):
        conf.write_text(FIRST.replace("= 5", f"= {count + 10}"))
        node.signal(signal.SIGHUP)
    until(lambda: run("config", "diff", "configured") == [], 10)
    assert by_key(run("config", "show", "configured"))["limits.max_subscriptions"]["value"] == 29


def test_the_state_for_support(run: Run, node: Node) -> None:
    with Raw(node.tcp) as client:
        client.connect(V5, "a-name-that-is-not-dumped")
        done = run("dump", "configured")
        path = Path(done["path"])
        assert path.stat().st_mode & 0o777 == 0o600 and path.stat().st_size >= done["bytes"]
        text = path.read_text()
        state = json.loads(text)
        assert state["connections"] == {"tcp v5": 1} and state["node"]["connections"] == 1
        assert state["loop_lag_seconds"]["max"] >= 0 and state["descriptors"] > 5
        coroutines = {each["coroutine"] for each in state["tasks"]["alike"]}
        assert "Recorder._run" in coroutines and "Sampler.run" in coroutines
        assert any("MainThread" in each["name"] for each in state["threads"])
        assert by_key(state["configuration"]["rows"])["console.metrics_token"]["value"] == "***"
        key = (node.data_dir / "secret_key").read_text().strip()
        for secret in (SECRET, key, "a-name-that-is-not-dumped"):
            assert secret not in text

        def is_new(known: set[Path]) -> bool:
            node.signal(signal.SIGUSR1)  # one that comes while a file is written asks for that one
            return bool(set(path.parent.iterdir()) - known)

        for _ in range(12):
            until(partial(is_new, set(path.parent.iterdir())))
        until(lambda: len(list(path.parent.iterdir())) == 10)


def test_a_file_is_checked_without_a_node(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text(FIRST)
    bad.write_text("[limits]\nmax_sesions = 1\n")
    monkeypatch.setenv("GMQTT_CONF", str(bad))
    assert command.run(["config", "check", str(good)]) == 0
    assert "can be used" in capsys.readouterr().out
    assert command.run(["config", "check"]) == 2
    said = capsys.readouterr().err
    assert "max_sesions" in said and "did you mean max_sessions?" in said
    with pytest.raises(CommandError) as refused:
        call_command("gmqtt", "config", "check", str(bad))
    assert refused.value.returncode == 2


def test_what_is_new_has_to_agree_with_what_stays() -> None:
    """The file opens the chain and closes the listener; only the former comes in force without a restart."""
    public = {"GMQTT_LISTENERS__TCP": "tcp://0.0.0.0:1883"}
    old = load(public | {"GMQTT_AUTH__CLIENT": "django", "GMQTT_AUTH__ACL": "django"})
    new = load({"GMQTT_AUTH__CLIENT": "mock", "GMQTT_AUTH__ACL": "mock"})
    live = {key for key in changes(old, new) if is_live(key)}
    assert live == {"auth.client", "auth.acl"}
    with pytest.raises(ConfError, match="loopback"):
        check(with_keys(old, new, live))
