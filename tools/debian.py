"""Debian's archive, as this machine's apt is set up with it."""

from __future__ import annotations

import subprocess

from tools.servers import Missing


def archive() -> str:
    """The URL of the main archive. Raises `Missing`."""
    form = ["--format", "$(REPO_URI) $(CODENAME)"]
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", *form, "Created-By: Packages", "Origin: Debian"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        raise Missing("no apt here") from None
    for line in done.stdout.splitlines():
        uri, _, codename = line.partition(" ")
        if codename and "-" not in codename:
            return uri
    raise Missing("apt knows no archive of Debian here")
