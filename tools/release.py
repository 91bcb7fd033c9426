"""Make a release: `make release VERSION=1.2.3 KEY=path/of/an/ssh/key`.

Writes the version and the changelog's heading, commits, builds wheel and sdist into dist/ with an SBOM
(CycloneDX), SHA256SUMS and its signature. The annotated tag comes last, on a commit that could be built.
Pushes nothing. KEY's public half has to stand in release_signers, by which everybody checks a release.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNRELEASED = "## Unreleased\n"
SUMS = "SHA256SUMS"
NAMESPACE = "gmqtt-release"  # a signature made for something else is none of a release
SIGNER = "release@gmqtt"  # the name in release_signers
SIGNERS = ROOT / "release_signers"


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
    files = sorted(path for path in directory.iterdir() if not path.name.startswith(SUMS))
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)


def sign(directory: Path, key: Path) -> None:
    """Sign the checksums with an SSH key (`ssh-keygen -Y`), into SHA256SUMS.sig."""
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(key), SUMS]
    (directory / f"{SUMS}.sig").unlink(missing_ok=True)
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"ssh-keygen: {done.stderr.strip()}")


def verify(directory: Path, signers: Path = SIGNERS) -> None:
    """The signature is by one of `signers`, and every file is as it was signed."""
    command = ["ssh-keygen", "-Y", "verify", "-q", "-n", NAMESPACE, "-I", SIGNER, "-f", str(signers)]
    command += ["-s", f"{SUMS}.sig"]
    sums = (directory / SUMS).read_text()
    done = subprocess.run(
        command, cwd=directory, input=sums, capture_output=True, text=True, check=False, timeout=60
    )
    if done.returncode:
        raise Refused(f"{SUMS}.sig is not by a key of {signers.name}: {done.stdout}{done.stderr}".strip())
    if sums != checksums(directory):
        raise Refused(f"the files are not those of {SUMS}")


def check_key(key: Path, signers: Path = SIGNERS) -> None:
    """Before anything is written: what this key signs can be verified."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / SUMS).touch()
        sign(Path(scratch), key)
        verify(Path(scratch), signers)


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def _build(version: str, key: Path) -> None:
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    subprocess.run(["make", "dist"], cwd=ROOT, check=True)
    sbom = dist / f"gmqtt_platform-{version}.cdx.json"
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "requirements.lock"]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible", "-o", str(sbom)]
    subprocess.run(command, cwd=ROOT, check=True)
    (dist / SUMS).write_text(checksums(dist))
    sign(dist, key)
    verify(dist)


def release(version: str, key: Path) -> None:
    if not re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version):
        raise Refused(f"found version {version!r}; allowed: 1.2.3, 1.2.3rc1")
    if _git("status", "--porcelain"):
        raise Refused("there are changes that are not committed")
    if _git("tag", "--list", f"v{version}"):
        raise Refused(f"the tag v{version} exists")
    check_key(key)
    log, init = ROOT / "CHANGELOG.md", ROOT / "gmqtt_platform" / "__init__.py"
    today = datetime.datetime.now(datetime.UTC).date()
    log.write_text(changelog(log.read_text(), version, today))
    init.write_text(versioned(init.read_text(), version, today))
    _git("commit", "--quiet", "-m", f"Release {version}", "CHANGELOG.md", "gmqtt_platform/__init__.py")
    _build(version, key)
    _git("tag", "--annotate", f"v{version}", "-m", f"gmqtt platform {version}")
    print(f"dist/ holds the artifacts. Publish with: git push --follow-tags, and upload dist/ of v{version}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("version")
    parser.add_argument("key", type=lambda path: Path(path).expanduser().resolve())
    options = parser.parse_args()
    try:
        release(options.version, options.key)
    except Refused as refusal:
        print(f"no release: {refusal}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
