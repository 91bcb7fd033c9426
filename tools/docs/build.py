"""`make docs`: docs/ and the generated reference as a site, in build/docs.

A warning of MkDocs is an error: a link that leads nowhere, a page that is not in the navigation.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent.parent
SITE = ROOT / "build" / "docs"
FROM_THE_ROOT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")


def source(target: Path) -> None:
    """Everything that MkDocs reads, into `target`."""
    from tools.docs import conformance, reference

    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / "docs", target, ignore=shutil.ignore_patterns("*.csv"))
    for name in FROM_THE_ROOT:
        shutil.copy(ROOT / name, target)
    for page in target.rglob("*.md"):
        depth = len(page.relative_to(target).parents) - 1
        text = page.read_text()
        for name in FROM_THE_ROOT:  # from the place in the repository to the place in the site
            text = text.replace(f"({'../' * (depth + 1)}{name})", f"({'../' * depth}{name})")
        if page.name in FROM_THE_ROOT:
            text = re.sub(r"\(docs/", "(", text)
        page.write_text(text)
    (target / "reference").mkdir(exist_ok=True)
    for name, text in {**reference.pages(), "conformance": conformance.page()}.items():
        (target / "reference" / f"{name}.md").write_text(text)


def digest() -> str:
    """Of everything that the site is made of."""
    found = hashlib.sha256()
    files = [ROOT / name for name in (*FROM_THE_ROOT, "mkdocs.yml", "conf/conf.toml")]
    files += [each for each in (ROOT / "docs").rglob("*") if each.is_file()]
    for folder in ("apps", "gmqtt_platform", "tests", "tools/docs"):
        files += (ROOT / folder).rglob("*.py")
    files += (ROOT / "tools" / "docs").rglob("*.csv")
    for path in sorted(files):
        found.update(str(path.relative_to(ROOT)).encode() + hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


NO_SITEMAP: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"/>\n'
)


def build(site: Path = SITE) -> None:
    """`site` is replaced whole, when all went well. One build at a time, and none where it is current."""
    (ROOT / "build").mkdir(exist_ok=True)
    with (ROOT / "build" / "docs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp, current = site.with_name(site.name + ".digest"), digest()
        if site.exists() and stamp.exists() and stamp.read_text() == current:
            return
        source(ROOT / "build" / "docs-src")
        made = site.with_name(site.name + ".new")
        shutil.rmtree(made, ignore_errors=True)
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(made)]
        environ = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
        subprocess.run(command, cwd=ROOT, env=environ, check=True)
        (made / "sitemap.xml.gz").unlink(missing_ok=True)  # it names the time of the build
        for folder in (made, made / "zh"):  # the choice of a language asks for them
            (folder / "sitemap.xml").write_text(NO_SITEMAP)
        shutil.rmtree(site, ignore_errors=True)
        made.rename(site)
        stamp.write_text(current)


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as directory:  # nothing of this machine's configuration or data
        for name in [name for name in os.environ if name.startswith("GMQTT_")]:
            del os.environ[name]
        os.environ["GMQTT_NODE__DATA_DIR"] = directory
        os.environ["DJANGO_SETTINGS_MODULE"] = "gmqtt_platform.settings"
        os.environ["COLUMNS"] = "100"  # argparse wraps by it
        try:
            build()
        except subprocess.CalledProcessError as failed:
            return failed.returncode
    print(f"{SITE.relative_to(ROOT)}: {sum(1 for _ in SITE.rglob('index.html'))} pages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
