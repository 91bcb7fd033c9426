"""Every package that is installed is pinned with the hashes of its files, and make installs nothing else."""

from __future__ import annotations

import re

import pytest

from gmqtt_platform.config.loader import ROOT

SETS = ("requirements", "requirements-build", "requirements-dev")
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[a-z0-9,_-]+\])?==([^\s;#\\]+)")
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def pins(text: str) -> dict[str, str]:
    found = filter(None, map(PIN.match, text.splitlines()))
    return {re.sub(r"[-_.]+", "-", pin[1]).lower(): pin[2] for pin in found}


def wanted(name: str) -> dict[str, str]:
    """What the file pins, with those that it includes."""
    text = (ROOT / f"{name}.txt").read_text()
    found = pins(text)
    for other in re.findall(r"^-r (\S+)\.txt", text, re.MULTILINE):
        found |= wanted(other)
    return found


@pytest.mark.parametrize("name", SETS)
def test_what_is_wanted_is_locked(name: str) -> None:
    locked = pins((ROOT / f"{name}.lock").read_text())
    assert wanted(name).items() <= locked.items(), "run `make lock`"


@pytest.mark.parametrize("name", SETS)
def test_each_has_hashes_and_no_host(name: str) -> None:
    text = (ROOT / f"{name}.lock").read_text()
    assert "://" not in text and not re.search(r"^-", text, re.MULTILINE)
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.partition("\n")[2].strip())
    assert len(entries) == len(pins(text)) > 0
    for entry in entries:
        assert HASH.search(entry), entry


def test_the_sets_agree() -> None:
    """They are installed into one environment."""
    whole = pins((ROOT / "requirements-dev.lock").read_text())
    for name in SETS[:2]:
        assert pins((ROOT / f"{name}.lock").read_text()).items() <= whole.items()


def test_make_installs_with_hashes_only() -> None:
    makefile = (ROOT / "Makefile").read_text()
    installs = [line for line in makefile.splitlines() if "$(PIP) " in line]
    assert installs and all("--require-hashes -r requirements" in line for line in installs)
