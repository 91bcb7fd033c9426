"""What the documentation tells people to type exists."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest
from django.core.management import get_commands

from gmqtt_platform import command
from gmqtt_platform.config.loader import ROOT
from tests.docs.site import blocks, sources
from tools.docs import reference

ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=")
ALONE = {"bridge", "worker", "manage"}  # they hand on what follows


def typed() -> list[tuple[Path, list[str]]]:
    """Each simple command of the shell blocks, as words, without assignments before it."""
    found = []
    for block in blocks("sh"):
        text = re.sub(r"\\\n\s*", " ", block.text)
        text = re.sub(r"\$\(.*?\)(?=\n|$)", "X", text)
        for line in text.splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            lexer.commenters = "#"
            words: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set(";|&()<>"):
                    while words and (ASSIGNMENT.match(words[0]) or words[0] in ("export", "alias")):
                        words.pop(0)
                    if words:
                        found.append((block.page, words))
                    words = []
                else:
                    words.append(word)
    return found


def of(*programs: str) -> list[tuple[Path, list[str]]]:
    return [(page, words) for page, words in typed() if Path(words[0]).name in programs]


def test_gmqtt(capsys: pytest.CaptureFixture[str]) -> None:
    given = of("gmqtt")
    assert len(given) > 20
    for page, words in given:
        rest = words[1:]
        if rest[0] == "manage":
            assert rest[1] in get_commands(), (page, words)
        elif rest[0] in ALONE and (len(rest) == 1 or rest[1].startswith("-")):
            continue
        else:
            try:
                command.parser().parse_args(rest)
            except SystemExit as wrong:
                pytest.fail(f"{page.name}: {shlex.join(words)}: {wrong.code} {capsys.readouterr().err}")


def test_gmqtt_in_the_text() -> None:
    """`gmqtt sessions purge <client id>`: the command is there, whatever follows."""
    top = command.parser()
    known = {words for words, _ in reference.commands(top)}
    for page in sources():
        for said in re.findall(r"`gmqtt ([a-z][a-z-]*(?: [a-z]+)?)", page.read_text()):
            words = tuple(said.split())
            first = [parser for name, parser in reference.commands(top) if name == words[:1]]
            assert first, f"{page.name}: gmqtt {said}"
            nested = any(isinstance(each, argparse._SubParsersAction) for each in first[0]._actions)
            assert words in known or not nested or len(words) == 1, f"{page.name}: gmqtt {said}"


def test_make_targets() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    given = {word for _, words in of("make") for word in words[1:] if re.fullmatch(r"[a-z-]+", word)}
    for page in sources():
        given |= set(re.findall(r"`make ([a-z][a-z-]*)", page.read_text()))
    assert {"run", "dist", "cluster", "image"} <= given <= targets


def test_files_that_are_named() -> None:
    place = re.compile(r"`((?:conf|deploy|tests|bench|tools|docs)/[\w./-]+)`")
    for page in sources():
        for name in place.findall(page.read_text()):
            assert (ROOT / name).exists() or list(ROOT.glob(f"{name}*")), f"{page.name}: {name}"


def test_addresses_of_the_api_that_are_named() -> None:
    paths = [re.sub(r"\{\w+\}", r"[^/]+", path) for path in reference.schema()["paths"]]
    for page in sources():
        for name in re.findall(r"\$API(/[a-z/0-9-]+)", page.read_text()):
            assert any(re.fullmatch(path, f"/api/v1{name}") for path in paths), f"{page.name}: {name}"


def test_settings_that_are_named() -> None:
    from apps.common import rbac
    from gmqtt_platform.config import loader

    known = {f"{table}.{key}" for table, keys in loader.RULES.items() for key in keys}
    known |= set(loader.TABLES) | rbac.PERMISSIONS
    tables = "|".join(sorted({table.partition(".")[0] for table in loader.TABLES}))
    for page in sources():
        if page.name in ("architecture.md", "security.md"):  # they name modules and messages, too
            continue
        for key in re.findall(rf"`((?:{tables})\.[a-z_.]+)[` =]", page.read_text()):
            inner = key.rpartition(".")[0]
            assert key in known or inner == "broker.kafka.options", f"{page.name}: {key}"
