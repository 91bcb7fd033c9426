"""Install the wheel of dist/ with what it needs into an empty environment and start a node.

`make dist-test`. Prints how long it took. With --pure the sdist is installed, without a compiler.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import venv
from pathlib import Path

DIST = Path(__file__).resolve().parent.parent / "dist"
# Path -> what stands there, if templates, styles, documentation and the web client are in the package.
PAGES = {"/admin/login/": "<form", "/docs/": "Quick start", "/docs/zh/": "<html", "/client/": "app.js"}
LIMIT = 60.0  # seconds from `gmqtt run` to a node that serves


def main() -> int:
    pure = "--pure" in sys.argv
    (artifact,) = DIST.glob("*.tar.gz" if pure else "*.whl")
    with tempfile.TemporaryDirectory(prefix="gmqtt-dist-") as scratch:
        home, work = Path(scratch) / "venv", Path(scratch) / "empty"
        work.mkdir()
        venv.create(home, with_pip=True)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("GMQTT_")}
        environ |= {"GMQTT_LISTENERS__TCP": "tcp://127.0.0.1:0", "GMQTT_LISTENERS__HTTP": "127.0.0.1:0"}
        environ |= {"GMQTT_PURE_PYTHON": "1"} if pure else {}
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        began = time.monotonic()
        subprocess.run([*pip, str(artifact)], check=True, env=environ)
        print(f"installed in {time.monotonic() - began:.0f} s")
        return start(home / "bin" / "gmqtt", work, environ, pure)


def start(gmqtt: Path, work: Path, environ: dict[str, str], pure: bool) -> int:
    began, core, admin, wrong = time.monotonic(), "", "", ""
    command = [str(gmqtt), "run"]
    with subprocess.Popen(command, cwd=work, env=environ, text=True, stdout=subprocess.PIPE) as node:
        assert node.stdout is not None
        for line in node.stdout:
            print(line, end="")
            if line.startswith("Admin"):
                admin = line.split()[-1]
            if line.startswith("Core"):
                core = line
                break
        took = time.monotonic() - began
        wrong = pages(admin.removesuffix("/admin/"))
        node.send_signal(signal.SIGINT)
        node.stdout.read()
    print(wrong or f"a node in {took:.1f} s, ended with {node.returncode}")
    compiled = "compiled" in core
    good = core and compiled is not pure and took < LIMIT and node.returncode == 0 and not wrong
    return 0 if good else 1


def pages(url: str) -> str:
    """What is wrong with a page that the package brings its files for."""
    for path, expected in PAGES.items():
        try:
            with urllib.request.urlopen(url + path, timeout=20) as answer:
                if expected not in answer.read().decode():
                    return f"{path} does not show {expected!r}"
        except OSError as error:
            return f"{path}: {error}"
    return ""


if __name__ == "__main__":
    sys.exit(main())
