"""`gmqtt plan` and `apply` as a pipeline runs them: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.operations.support import ok, run
from tests.wire.nodes import migrate

WANTED = """
groups:
  - name: plant
clients:
  - client_id: meter-1
    groups: [plant]
    credentials:
      - generate: true
rules:
  - {effect: allow, action: both, filter: "plant/${clientid}/#", group: plant}
"""


def test_a_file_is_planned_and_applied(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "platform.yaml"
    migrate(data)
    file.write_text(WANTED)

    planned = ok(data, "plan", file)
    assert "+ client meter-1" in planned and "3 to add, 0 to change, 0 to remove." in planned
    assert run(data, "plan", file, "--detailed-exitcode").returncode == 2  # there are changes
    assert ok(data, "plan", file) == planned  # nothing was made

    applied = json.loads(ok(data, "--json", "apply", file))
    assert [each["do"] for each in applied["changes"]] == ["add"] * 3
    (secret,) = applied["secrets"]
    assert secret["username"] == "meter-1" and secret["secret"]

    again = json.loads(ok(data, "--json", "apply", file))
    assert again == {"changes": [], "secrets": []}
    done = run(data, "plan", file, "--detailed-exitcode")
    assert done.returncode == 0 and "0 to add, 0 to change, 0 to remove." in done.stdout
    assert secret["secret"] not in done.stdout + done.stderr


def test_a_wrong_file_is_named_by_line_and_key_and_changes_nothing(tmp_path: Path) -> None:
    data, file = tmp_path / "data", tmp_path / "platform.yaml"
    migrate(data)
    for text, what in (
        (WANTED.replace("groups: [plant]", "groups: [plnat]"), "platform.yaml:6: clients[0].groups"),
        ("clients: [", "platform.yaml:1"),
        ("clients:\n  - client_id: a\n    colour: red\n", "platform.yaml:3: clients[0].colour"),
    ):
        file.write_text(text)
        for words, code in ((["apply"], 2), (["plan"], 2), (["plan", "--detailed-exitcode"], 1)):
            done = run(data, words[0], file, *words[1:])
            assert done.returncode == code and what in done.stderr, (words, done)
            assert "Traceback" not in done.stderr
    missing = run(data, "apply", tmp_path / "none.yaml")
    assert missing.returncode == 2 and "none.yaml" in missing.stderr
    file.write_text("clients: []\nrules: []\ngroups: []\n")
    assert "0 to remove" in ok(data, "plan", file, "--prune")


def test_a_database_that_does_not_answer(tmp_path: Path) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(WANTED)
    gone = "postgresql://nobody@127.0.0.1:1/none"
    done = run(tmp_path / "data", "apply", file, DATABASE__URL=gone)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done
