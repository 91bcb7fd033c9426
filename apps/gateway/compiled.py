"""Where the compiled core is found, and whether this process runs on it.

`build_core.py` compiles the packages in PACKAGES into build/core; setup.py puts that into a wheel. Each of
them asks `path` where to look for its modules: there first, unless GMQTT_PURE_PYTHON=1 is set or the sources
have changed since, because a stale core would silently be another program than the one you read.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
_BUNDLED: Final = ROOT / "gmqtt_platform" / "bundle" / "core"  # of an installed wheel
BUILD: Final = _BUNDLED if _BUNDLED.exists() else ROOT / "build" / "core"
STAMP: Final = BUILD / "sources.sha256"
PACKAGES: Final = ("apps/gateway/mqtt", "apps/gateway/broker", "apps/gateway/sessions")


def sources() -> list[Path]:
    """The modules that are compiled."""
    found = [path for package in PACKAGES for path in sorted((ROOT / package).glob("*.py"))]
    return [path for path in found if path.name not in ("__init__.py", "ports.py", "worker.py")]


def fingerprint() -> str:
    """A digest of the sources and of the interpreter's binary interface (cpython-311-x86_64-linux-gnu)."""
    digest = hashlib.sha256(str(sysconfig.get_config_var("EXT_SUFFIX")).encode())
    for path in sources():
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _usable() -> bool:
    if os.environ.get("GMQTT_PURE_PYTHON") == "1" or not STAMP.exists():
        return False
    return STAMP.read_text() == fingerprint()


USABLE: Final = _usable()


def path(package: str, default: list[str]) -> list[str]:
    """The search path of `package` (dotted): the compiled modules first where they are usable."""
    if not USABLE:
        return list(default)
    if str(BUILD) not in sys.path:
        sys.path.append(str(BUILD))  # the compiled modules share one library at the top level
    return [str(BUILD / package.replace(".", "/")), *default]


def describe() -> str:
    if USABLE:
        return "compiled by mypyc"
    return "pure Python, several times slower; `make build` compiles it where there is a C compiler"
