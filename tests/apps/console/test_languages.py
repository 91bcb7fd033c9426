"""Every text of the console is there in both languages, and what runs is what was translated."""

from __future__ import annotations

import re
from pathlib import Path

import polib

APPS = Path(__file__).resolve().parents[3] / "apps"
CONSOLE = APPS / "console"
PAGES = (CONSOLE, APPS / "cluster")
CATALOG = CONSOLE / "locale" / "zh_Hans" / "LC_MESSAGES" / "django.po"
DJANGO_KNOWS = {"Log in", "Welcome back to"}


def used() -> set[str]:
    found: set[str] = set()
    for template in (each for app in PAGES for each in app.glob("templates/**/*.html")):
        found |= set(re.findall(r"""{% translate (?:"([^"]+)"|'[^']+') %}""", template.read_text()))
        found |= set(re.findall(r"""{% translate '([^']+)' %}""", template.read_text()))
    for module in (*CONSOLE.glob("*.py"), *(APPS / "cluster" / "admin").glob("*.py")):
        found |= set(re.findall(r'\b_\("([^"]+)"\)', module.read_text()))
    return found - {""} - DJANGO_KNOWS


def test_everything_is_translated() -> None:
    catalog = {entry.msgid: entry.msgstr or entry.msgstr_plural for entry in polib.pofile(str(CATALOG))}
    assert used() - set(catalog) == set()
    assert [text for text, translated in catalog.items() if not translated] == []


def test_the_compiled_catalog_is_current() -> None:
    """`make messages` compiles it."""
    source, compiled = polib.pofile(str(CATALOG)), polib.mofile(str(CATALOG.with_suffix(".mo")))
    texts = [
        {entry.msgid: entry.msgstr or entry.msgstr_plural for entry in each} for each in (source, compiled)
    ]
    assert texts[0] == texts[1]
