"""What pyproject.toml cannot say: a wheel carries compiled core, web client, documentation and configuration.

Without a C compiler (or mypy) the wheel is a pure one, and the node runs as plain Python. A wheel made of an
sdist takes the web client and the documentation that the sdist carries in build/.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
CORE, CLIENT = ROOT / "build" / "core", ROOT / "build" / "webclient"
DOCS = ROOT / "build" / "docs"


def compile_core() -> bool:
    """Whether build/core holds the core, compiled for this interpreter from these sources.

    GMQTT_PURE_PYTHON=1 makes a wheel without it, for every platform.
    """
    if os.environ.get("GMQTT_PURE_PYTHON") == "1":
        return False
    subprocess.run([sys.executable, "build_core.py"], cwd=ROOT, check=True, stdout=sys.stderr)
    check = "import apps.gateway.compiled as c, sys; sys.exit(not c.USABLE)"
    return subprocess.run([sys.executable, "-c", check], cwd=ROOT).returncode == 0


class Wheel(Distribution):
    """A distribution whose wheel is for one platform when the core is compiled."""

    compiled: bool | None = None

    def has_ext_modules(self) -> bool:
        if self.compiled is None:
            self.compiled = compile_core()
        return self.compiled


class Build(build_py):
    def run(self) -> None:
        compiled = self.distribution.has_ext_modules()
        super().run()
        bundle = Path(self.build_lib) / "gmqtt_platform" / "bundle"
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(ROOT / "conf", bundle / "conf")
        if compiled:
            shutil.copytree(CORE, bundle / "core")
        if (CLIENT / "app.js").exists():
            shutil.copytree(CLIENT, bundle / "webclient")
        if (DOCS / "index.html").exists():
            shutil.copytree(DOCS, bundle / "docs")


class Source(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        if (CLIENT / "app.js").exists():
            shutil.copytree(CLIENT, Path(base_dir) / "build" / "webclient", dirs_exist_ok=True)
        if (DOCS / "index.html").exists():
            shutil.copytree(DOCS, Path(base_dir) / "build" / "docs", dirs_exist_ok=True)


if __name__ == "__main__":
    setup(distclass=Wheel, cmdclass={"build_py": Build, "sdist": Source})
