"""Make a release: `make release VERSION=1.2.3`.

Writes the version and the changelog's heading, commits, builds wheel and sdist into dist/ with an SBOM
(CycloneDX) and SHA256SUMS. The annotated tag comes last, on a commit that could be built. Pushes nothing.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNRELEASED = "## Unreleased\n"


class Refused(Exception):
    """The release cannot be made; the text says why."""


def changelog(text: str, version: str, day: datetime.date) -> str:
    """The changelog with what was unreleased under the heading of `version`."""
    if f"## {version} " in text:
        raise Refused(f"CHANGELOG.md has a section {version} already")
    head, found, rest = text.partition(UNRELEASED)
    body = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    if not found or not re.search(r"^- ", body, re.MULTILINE):
        raise Refused("CHANGELOG.md has no lines under 'Unreleased'")
    return f"{head}{UNRELEASED}\n## {version} - {day.isoformat()}\n{rest}"


def versioned(text: str, version: str, day: datetime.date) -> str:
    """The source of gmqtt_platform/__init__.py with `version`, released on `day`."""
    text = re.sub(r'__version__ = "[^"]*"', f'__version__ = "{version}"', text)
    return re.sub(r'__date__ = "[^"]*"', f'__date__ = "{day.isoformat()}"', text)


def checksums(directory: Path) -> str:
    """Lines as `sha256sum --check` reads them."""
    files = sorted(path for path in directory.iterdir() if path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _build(version: str) -> None:
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    subprocess.run(["make", "dist"], cwd=ROOT, check=True)
    sbom = dist / f"gmqtt_platform-{version}.cdx.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "requirements.txt"]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible", "-o", str(sbom)]
    subprocess.run(command, cwd=ROOT, check=True)
    (dist / "SHA256SUMS").write_text(checksums(dist))


def release(version: str) -> None:
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise Refused(f"found version {version!r}; allowed: 1.2.3, 1.2.3rc1")
    if _git("status", "--porcelain"):
        raise Refused("there are changes that are not committed")
    if _git("tag", "--list", f"v{version}"):
        raise Refused(f"the tag v{version} exists")
    log, init = ROOT / "CHANGELOG.md", ROOT / "gmqtt_platform" / "__init__.py"
    today = datetime.datetime.now(datetime.UTC).date()
    log.write_text(changelog(log.read_text(), version, today))
    init.write_text(versioned(init.read_text(), version, today))
    _git("commit", "--quiet", "-m", f"Release {version}", "CHANGELOG.md", "gmqtt_platform/__init__.py")
    _build(version)
    _git("tag", "--annotate", f"v{version}", "-m", f"gmqtt platform {version}")
    print(f"dist/ holds the artifacts. Publish with: git push --follow-tags, and upload dist/ of v{version}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("version")
    try:
        release(parser.parse_args().version)
    except Refused as refusal:
        print(f"no release: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
