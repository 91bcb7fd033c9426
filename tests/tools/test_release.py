"""What a release writes. Building is tested with the wheel (tests/packaging)."""

from __future__ import annotations

import datetime
import hashlib
import os
import shutil
import subprocess
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
        release.release(version, Path("key"))


def test_this_changelog_and_this_version_can_be_released() -> None:
    release.changelog((ROOT / "CHANGELOG.md").read_text(), "999.0.0", DAY)
    source = (ROOT / "gmqtt_platform" / "__init__.py").read_text()
    assert '__version__ = "999.0.0"' in release.versioned(source, "999.0.0", DAY)


def test_checksums(tmp_path: Path) -> None:
    (tmp_path / "b.whl").write_bytes(b"b")
    (tmp_path / "SHA256SUMS").touch()
    assert release.checksums(tmp_path) == f"{hashlib.sha256(b'b').hexdigest()}  b.whl\n"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """One to be thrown away, and release_signers with it alone."""
    made = make_key(tmp_path / "key")
    public = made.with_suffix(".pub").read_text()
    (tmp_path / "release_signers").write_text(f'release@gmqtt namespaces="gmqtt-release" {public}')
    return made


def make_key(path: Path) -> Path:
    if shutil.which("ssh-keygen") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("ssh-keygen is not installed")
        pytest.skip("ssh-keygen is not installed")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture
def dist(tmp_path: Path, key: Path) -> Path:
    dist = tmp_path / "dist"
    dist.mkdir()
    (dist / "gmqtt.whl").write_bytes(b"wheel")
    (dist / release.SUMS).write_text(release.checksums(dist))
    release.sign(dist, key)
    return dist


def documented(dist: Path) -> int:
    """The exit code of the command of SECURITY.md, beside the files."""
    text = (ROOT / "SECURITY.md").read_text()
    command = text[text.index("    ssh-keygen") :]
    shutil.copy(dist.parent / "release_signers", dist / "release_signers")
    try:
        return subprocess.run(["sh", "-c", command], cwd=dist, capture_output=True).returncode
    finally:
        (dist / "release_signers").unlink()


def test_a_signed_release_is_verified_as_documented(dist: Path) -> None:
    assert documented(dist) == 0
    release.verify(dist, dist.parent / "release_signers")


@pytest.mark.parametrize("what", ["file", "sums", "key", "namespace", "unsigned"])
def test_what_was_changed_is_no_release(dist: Path, key: Path, what: str) -> None:
    sums = dist / release.SUMS
    if what in ("file", "sums"):
        (dist / "gmqtt.whl").write_bytes(b"another")
    if what == "sums":
        sums.write_text(release.checksums(dist))
    elif what == "key":
        release.sign(dist, make_key(dist.parent / "other"))
    elif what == "unsigned":
        (dist / f"{release.SUMS}.sig").unlink()
    elif what == "namespace":
        command = ["ssh-keygen", "-Y", "sign", "-q", "-n", "file", "-f", str(key), str(sums)]
        (dist / f"{release.SUMS}.sig").unlink()
        subprocess.run(command, check=True, capture_output=True)
    assert documented(dist) != 0
    with pytest.raises(release.Refused):
        release.verify(dist, dist.parent / "release_signers")


def test_a_key_that_nobody_knows_makes_no_release(key: Path) -> None:
    """`release_signers` of this repository does not have the one to be thrown away."""
    with pytest.raises(release.Refused, match="not by a key of release_signers"):
        release.check_key(key)
    release.check_key(key, key.parent / "release_signers")


def test_the_license_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text and "Version 2.0, January 2004" in text and "APPENDIX" in text
