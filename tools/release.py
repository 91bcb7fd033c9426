"""Make a release: `make release VERSION=1.2.3 KEY=path/of/an/ssh/key`.

Writes the version (of package, chart and compose files) and the changelog's heading, commits, builds wheel
and sdist into dist/ with SBOMs (CycloneDX), SHA256SUMS and its signature. The annotated tag comes last, on a
commit that could be built. Pushes nothing. KEY's public half has to stand in release_signers, by which
everybody checks a release.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
UNRELEASED = "## Unreleased\n"
SUMS = "SHA256SUMS"
NAMESPACE = "gmqtt-release"  # a signature made for something else is none of a release
SIGNER = "release@gmqtt"  # the name in release_signers
SIGNERS = ROOT / "release_signers"
# Files that name the version: what stands before it on its line, and after it.
VERSIONED = {
    "gmqtt_platform/__init__.py": [('__version__ = "', '"')],
    "deploy/helm/gmqtt/Chart.yaml": [("version: ", ""), ('appVersion: "', '"')],
    "deploy/compose/compose.yaml": [("image: ${GMQTT_IMAGE:-gmqtt:", "}")],
    "deploy/compose/compose.cluster.yaml": [("image: ${GMQTT_IMAGE:-gmqtt:", "}")],
}


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


def versioned(name: str, text: str, version: str, day: datetime.date) -> str:
    """The file `name` with `version`, released on `day`."""
    text = re.sub(r'__date__ = "[^"]*"', f'__date__ = "{day.isoformat()}"', text)
    for before, after in VERSIONED[name]:
        pattern = rf"(?m)^(\s*{re.escape(before)})[^\s\"}}]+{re.escape(after)}"
        text, count = re.subn(pattern, rf"\g<1>{version}{after}", text)
        if count != 1:
            raise Refused(f"{name} has {count} lines with {before!r}, not one")
    return text


def described(bom: dict[str, Any], version: str, direct: set[str]) -> dict[str, Any]:
    """An SBOM that says which version it is of, and which of its components that needs itself."""
    root = bom["metadata"]["component"]
    root["version"] = version
    needed = [each["bom-ref"] for each in bom["components"] if each["name"].lower() in direct]
    others = [each for each in bom.get("dependencies", []) if each["ref"] != root["bom-ref"]]
    return {**bom, "dependencies": [{"ref": root["bom-ref"], "dependsOn": sorted(needed)}, *others]}


def _sbom(version: str, dist: Path) -> None:
    """Of the Python packages with their hashes, and of the web client's where there is npm."""
    file = dist / f"gmqtt_platform-{version}.cdx.json"
    command = [sys.executable, "-W", "ignore", "-m", "cyclonedx_py", "requirements", "requirements.lock"]
    command += ["--pyproject", "pyproject.toml", "--output-reproducible", "-o", str(file)]
    subprocess.run(command, cwd=ROOT, check=True)
    pins = re.findall(r"(?m)^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==", (ROOT / "requirements.txt").read_text())
    bom = described(json.loads(file.read_text()), version, {pin.lower() for pin in pins})
    file.write_text(json.dumps(bom, indent=2) + "\n")
    if shutil.which("npm"):
        command = ["npm", "sbom", "--package-lock-only", "--sbom-format", "cyclonedx"]
        done = subprocess.run(command, cwd=ROOT / "webclient", check=True, capture_output=True)
        (dist / f"gmqtt_webclient-{version}.cdx.json").write_bytes(done.stdout)


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
    _sbom(version, dist)
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
    today = datetime.datetime.now(datetime.UTC).date()
    written = {name: versioned(name, (ROOT / name).read_text(), version, today) for name in VERSIONED}
    written["CHANGELOG.md"] = changelog((ROOT / "CHANGELOG.md").read_text(), version, today)
    for name, text in written.items():
        (ROOT / name).write_text(text)
    _git("commit", "--quiet", "-m", f"Release {version}", *written)
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
