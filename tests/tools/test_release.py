"""What a release writes. Building is tested with the wheel (tests/packaging)."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT
from tools import release

DAY = datetime.date(2026, 11, 26)


def test_what_was_unreleased_gets_the_version() -> None:
    text = "# Changelog\n\n## Unreleased\n\n### Added\n- a\n\n## 0.1.0 - 2026-01-01\n- b\n"
    expected = text.replace("leased\n", "leased\n\n## 0.2.0 - 2026-11-26\n")
    assert release.changelog(text, "0.2.0", DAY) == expected


@pytest.mark.parametrize("text", ["# Changelog\n", "## Unreleased\n\n## 0.1.0 - 2026-01-01\n- b\n"])
def test_nothing_to_release(text: str) -> None:
    with pytest.raises(release.Refused, match="no lines"):
        release.changelog(text, "0.2.0", DAY)


def test_a_version_is_released_once() -> None:
    with pytest.raises(release.Refused, match="already"):
        release.changelog("## Unreleased\n- a\n\n## 0.2.0 - 2026-01-01\n", "0.2.0", DAY)


@pytest.mark.parametrize("version", ["", "1", "v1.2.3", "1.2.3; rm", "1.2"])
def test_a_version_is_three_numbers(version: str) -> None:
    with pytest.raises(release.Refused, match="allowed"):
        release.release(version)


def test_this_changelog_and_this_version_can_be_released() -> None:
    release.changelog((ROOT / "CHANGELOG.md").read_text(), "999.0.0", DAY)
    source = (ROOT / "gmqtt_platform" / "__init__.py").read_text()
    assert '__version__ = "999.0.0"' in release.versioned(source, "999.0.0", DAY)


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "b.whl").write_bytes(b"b")
    (tmp_path / "SHA256SUMS").touch()
    assert release.checksums(tmp_path) == f"{hashlib.sha256(b'b').hexdigest()}  b.whl\n"


def test_the_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "APPENDIX" in text
