"""Programs of other releases of Debian than this machine's, run with the libraries of their own.

Only apt's own client fetches anything, from the archive that this machine's apt is set up with.
"""

from __future__ import annotations

from pathlib import Path

from tests.interop.programs import Missing, built, command
from tools.debian import archive
from tools.servers import Missing as NoArchive

LOADER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def _archive() -> str:
    try:
        return archive()
    except NoArchive as reason:
        raise Missing(str(reason)) from None


def unpacked(release: str, *packages: str) -> Path:
    """A directory with these packages of a release and all that they depend on."""
    name = f"debian-{release}"

    def fetch(at: Path) -> None:
        state = {
            "Dir::Etc::sourcelist": "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": "state",
            "Dir::State::status": "status",
            "Dir::Cache": "cache",
            "APT::Install-Recommends": "false",
            "APT::Sandbox::User": "root",
        }
        for directory in ("state/lists/partial", "cache/archives/partial", "root"):
            (at / directory).mkdir(parents=True)
        (at / "status").touch()
        (at / "sources.list").write_text(f"deb {_archive()} {release} main\n")
        options = []
        for key, value in state.items():
            place = value if value.startswith("/") or not key.startswith("Dir") else str(at / value)
            options += ["-o", f"{key}={place}"]
        command(at, "apt-get", "-qq", *options, "update")
        command(at, "apt-get", "-qq", "-y", *options, "--download-only", "install", *packages)
        for package in sorted((at / "cache/archives").glob("*.deb")):
            command(at, "dpkg-deb", "-x", str(package), "root")
        command(at, "ldconfig", "-n", str(at / "root" / LIBRARIES))
        if not (at / "root" / LOADER).exists():
            raise Missing("made for another kind of processor")

    return built(name, fetch) / "root"


def line(root: Path, program: str) -> list[str]:
    """The command line of an unpacked program."""
    return [str(root / LOADER), "--library-path", str(root / LIBRARIES), str(root / program)]


def mosquitto(release: str) -> Path:
    return unpacked(release, "mosquitto", "mosquitto-clients")
