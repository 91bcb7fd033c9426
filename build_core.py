"""Compile the core with mypyc into build/core. A no-op when what is there is current.

Never fails a start: without mypyc or a working compiler the node runs as plain Python, and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from apps.gateway import compiled


def main() -> int:
    if compiled.STAMP.exists() and compiled.STAMP.read_text() == compiled.fingerprint():
        return 0
    print("Compiling the core (about a minute) ...", flush=True)
    fingerprint = compiled.fingerprint()  # of what is compiled: a file may be edited meanwhile
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [sys.executable, __file__, "compile", scratch],
            cwd=compiled.ROOT,
            capture_output=True,
            text=True,
            env=os.environ | {"GMQTT_PURE_PYTHON": "1"},
        )
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            print(f"The core could not be compiled and runs as plain Python:\n{tail}", file=sys.stderr)
            return 1 if "--strict" in sys.argv else 0
        shutil.rmtree(compiled.BUILD, ignore_errors=True)
        shutil.copytree(Path(scratch) / "lib", compiled.BUILD)
    compiled.STAMP.write_text(fingerprint)
    return 0


def compile_into(scratch: str) -> None:
    from mypyc.build import mypycify
    from setuptools import setup

    names = [str(path.relative_to(compiled.ROOT)) for path in compiled.sources()]
    setup(
        name="gmqtt-core",
        packages=[],
        ext_modules=mypycify(
            ["--explicit-package-bases", "--config-file", "pyproject.toml", *names],
            opt_level="3",
            debug_level="0",
            target_dir=str(Path(scratch) / "c"),
            group_name="gmqtt_core",
        ),
        script_args=[
            "--quiet",
            "build_ext",
            "--build-lib",
            str(Path(scratch) / "lib"),
            "--build-temp",
            str(Path(scratch) / "o"),
        ],
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["compile"]:
        compile_into(sys.argv[2])
    else:
        sys.exit(main())
