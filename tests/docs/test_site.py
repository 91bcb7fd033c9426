"""The built site: links lead somewhere, nothing comes from elsewhere, both languages are there."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from gmqtt_platform.config.loader import ROOT

CHINESE = ("", "quick-start/", "concepts/", "connect/", "operations/", "operations/runbooks/")


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.parts: list[str] = []  # what the browser fetches by itself
        self.ids: set[str] = set()
        self.inline = 0  # scripts that are no file
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.ids.update(filter(None, (given.get("id"), given.get("name"))))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag == "link" and given.get("href"):
            self.parts.append(given["href"] or "")
        if given.get("src"):
            self.parts.append(given["src"] or "")
        if tag == "script" and not given.get("src") and given.get("type") != "application/json":
            self.inline += 1


def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text()) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}


def target(page: Path, link: str) -> Path:
    found = (page.parent / unquote(urlsplit(link).path)).resolve()
    return found / "index.html" if found.is_dir() else found


def test_every_link_resolves(site: Path) -> None:
    found = pages(site)
    wrong = []
    for path, page in found.items():
        for link in page.links + page.parts:
            split = urlsplit(link)
            if split.scheme or split.netloc:
                continue
            where = target(path, link) if split.path else path
            if not where.exists():
                wrong.append(f"{path.relative_to(site)}: {link}")
            elif split.fragment and where in found and unquote(split.fragment) not in found[where].ids:
                wrong.append(f"{path.relative_to(site)}: {link}: no such place")
    assert not wrong, "\n".join(wrong)
    assert len(found) > 60


def test_nothing_is_fetched_from_elsewhere_and_no_script_is_inline(site: Path) -> None:
    for path, page in pages(site).items():
        outside = [part for part in page.parts if urlsplit(part).netloc]
        assert not outside, f"{path}: {outside}"
        assert not page.inline, path
    for style in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", style.read_text()), style


@pytest.mark.parametrize("page", CHINESE)
def test_main_pages_are_translated(site: Path, page: str) -> None:
    text = (site / "zh" / page / "index.html").read_text()
    body = text.partition("<article")[2].partition("</article")[0]
    assert len(re.findall(r"[\u4e00-\u9fff]", body)) > 150
    assert '<html lang="zh"' in text


def test_what_is_english_only_says_so(site: Path) -> None:
    text = (site / "zh" / "index.html").read_text()
    assert "架构（英文）" in text and "基本概念（英文）" not in text


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.zh.md")), ids=lambda page: page.name)
def test_a_translation_has_the_same_code(page: Path) -> None:
    """Placeholders apart: what is typed is the same in both languages."""
    fence = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    original = page.with_name(page.name.replace(".zh.md", ".md"))
    assert fence.findall(page.read_text()) == fence.findall(original.read_text())


def test_readme_links(site: Path) -> None:
    for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"):
        for link in re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text()):
            assert urlsplit(link).scheme or (ROOT / link).exists(), f"{name}: {link}"
