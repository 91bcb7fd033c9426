"""The table of MQTT's normative statements and the tests that carry their tags.

`statements/*.csv` has the numbers of the specifications and what each says in our words. A test carries a
tag, [MQTT-3.1.2-4], in its docstring or beside a row of a table; "[A] to [B]" is a range. A tag means
MQTT 5.0, unless "of 3.1.1" follows. A statement of 3.1.1 that 5.0 has too (column `in5`) is shown by the
tests of that one.
"""

from __future__ import annotations

import ast
import csv
import functools
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TAG = re.compile(r"\[MQTT-(\d+\.\d+\.\d+)-(\d+)\]")
RANGE = re.compile(r"\[MQTT-(\d+\.\d+\.\d+)-(\d+)\] to \[MQTT-(\d+\.\d+\.\d+)-(\d+)\]")
OLD = re.compile(r"\bof 3\.1\.1\b")


@dataclass
class Statement:
    number: str
    who: str  # server, client, both
    summary: str
    in5: str = ""
    tests: list[str] = field(default_factory=list)


def statements(version: str) -> dict[str, Statement]:
    with (HERE / "statements" / f"mqtt-{version}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="|"))
    return {row["id"]: Statement(row["id"], row["who"], row["summary"], row.get("in5") or "") for row in rows}


def numbers(text: str) -> set[str]:
    """Every statement that a piece of text names, ranges written out."""
    found = {f"{section}-{number}" for section, number in TAG.findall(text)}
    for section, first, last_section, last in RANGE.findall(text):
        if section == last_section:
            found |= {f"{section}-{number}" for number in range(int(first), int(last) + 1)}
    return found


@functools.cache
def tagged() -> dict[tuple[str, str], list[str]]:
    """(version, number) -> "file::test", or the file where the tag stands outside of a test."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text()
        if "[MQTT-" not in text:
            continue
        lines = text.splitlines()
        owner = [""] * (len(lines) + 1)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
                for line in range(first, (node.end_lineno or first) + 1):
                    owner[line] = node.name
        name = str(path.relative_to(ROOT))
        for at, text in enumerate(lines, start=1):
            version = "3.1.1" if OLD.search(text) else "5.0"
            where = f"{name}::{owner[at]}" if owner[at] else name
            for number in numbers(text):
                if where not in found[version, number]:
                    found[version, number].append(where)
    return found


def unknown() -> set[str]:
    """Tags whose number no specification has: a slip of the pen."""
    known = {version: statements(version) for version in ("3.1.1", "5.0")}
    return {f"{number} of {version}" for version, number in tagged() if number not in known[version]}


def table(version: str) -> list[Statement]:
    found = tagged()
    made = statements(version)
    for statement in made.values():
        statement.tests = list(found.get((version, statement.number), ()))
        if version == "3.1.1" and statement.in5:
            statement.tests += [
                each for each in found.get(("5.0", statement.in5), ()) if each not in statement.tests
            ]
    return list(made.values())


def page() -> str:
    text = "# MQTT conformance\n\n"
    text += (
        "Every normative statement of MQTT 5.0 and 3.1.1 by its number, what it says in our words, and the"
        " tests that carry"
        " its tag. The table is made from the tests. A statement that is the client's alone is shown where a"
        " server"
        " has to notice its breach. Without a tag does not mean that it is broken: other tests may depend on"
        " it, but"
        " none names it.\n\n"
    )
    for version in ("5.0", "3.1.1"):
        rows = table(version)
        ours = [each for each in rows if each.who != "client"]
        without = [each for each in ours if not each.tests]
        text += f"## MQTT {version} {{ #mqtt-{version.replace('.', '-')} }}\n\n"
        text += f"{len(rows)} statements, {len(ours)} of them a server's; "
        text += f"{len(ours) - len(without)} have a test.\n\n"
        if version == "3.1.1":
            text += "Most of 3.1.1 is in 5.0, too; the third column says where, its tests are listed here."
            text += "\n\n"
        text += f"### Without a test of their own, {version}\n\n"
        text += "".join(f"- MQTT-{each.number}: {each.summary}\n" for each in without) + "\n"
        text += f"### All, {version}\n\n"
        head = ("number", "whose", *(("in 5.0",) if version == "3.1.1" else ()), "what", "tests")
        text += "| " + " | ".join(head) + " |\n|" + "---|" * len(head) + "\n"
        for each in rows:
            tests = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in each.tests)
            old = (each.in5,) if version == "3.1.1" else ()
            text += "| " + " | ".join((each.number, each.who, *old, each.summary, tests)) + " |\n"
        text += "\n"
    return text
