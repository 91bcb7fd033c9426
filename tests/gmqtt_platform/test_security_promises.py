"""Every promise of docs/security.md names its test, and that test exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT

DOCUMENT = ROOT / "docs" / "security.md"
FILE = re.compile(r"`(tests/[\w/]+\.py)`")
NAME = re.compile(r"`((?:test_|Test)\w+)`")
DEFINED = re.compile(r"^\s*(?:async )?(?:def|class) ((?:test_|Test)\w+)", re.MULTILINE)
TEXT = DOCUMENT.read_text()
# Prose that tells what an attacker can do, or what to do about it, promises nothing.
PROMISES = [
    block
    for block in re.split(r"\n\n|\n(?=- )|\n(?=\| )", TEXT)
    if re.search(r"\*\*cannot\*\*|^- |^\| (?!message |point |-|what )", block)
]


def names() -> dict[str, Path]:
    """Test functions and classes, and where they are."""
    found = {}
    for path in ROOT.glob("tests/**/test_*.py"):
        for name in re.findall(
            r"^\s*(?:async )?(?:def|class) ((?:test_|Test)\w+)", path.read_text(), re.MULTILINE
        ):
            found[name] = path
    return found


@pytest.mark.parametrize("path", sorted(set(FILE.findall(TEXT))))
def test_a_file_that_is_named_exists_and_has_tests(path: str) -> None:
    assert re.search(r"def test_", (ROOT / path).read_text())


def test_a_test_that_is_named_exists() -> None:
    missing = set(NAME.findall(TEXT)) - set(names())
    assert not missing


@pytest.mark.parametrize("promise", PROMISES, ids=lambda block: block[:60])
def test_a_promise_names_its_test(promise: str) -> None:
    assert FILE.search(promise) or NAME.search(promise), promise


@pytest.mark.parametrize("point", range(1, 13))
def test_each_point_of_the_attacks_has_its_file(point: int) -> None:
    files = list(ROOT.glob(f"tests/attacks/test_{point:02}_*.py"))
    assert files
    assert all(f"`{path.relative_to(ROOT)}`" in TEXT for path in files)
