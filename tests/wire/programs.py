"""Programs that a test needs."""

from __future__ import annotations

import os
import shutil

import pytest


def find(program: str) -> str:
    """The path of a program, or its name where it is missing; daemons are often outside a user's PATH."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    return shutil.which(program, path=path) or program


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a program is missing; under CI run, and so fail."""
    missing = [name for name in programs if find(name) == name]
    skip = bool(missing) and os.environ.get("CI") != "true"
    return pytest.mark.skipif(skip, reason=f"not installed: {', '.join(missing)}")
