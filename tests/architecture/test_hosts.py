"""No file names the host of a package registry: each machine's own clients know theirs."""

from __future__ import annotations

import subprocess

from tests.architecture.arrows import ROOT

HOSTS = (  # in pieces, so that this file names none either
    ("deb", "debian", "org"),
    ("pypi", "org"),
    ("files", "pythonhosted", "org"),
    ("registry", "npmjs", "org"),
    ("maven", "org"),
    ("proxy", "golang", "org"),
    ("crates", "io"),
    ("docker", "io"),
    ("ghcr", "io"),
    ("quay", "io"),
)


def test_no_registry_is_named() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    hosts = [".".join(each).encode() for each in HOSTS]
    found = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if name and path.is_file():
            content = path.read_bytes()
            found += [f"{name}: {host.decode()}" for host in hosts if host in content]
    assert not found
