"""Who may import whom. `wrong_arrows` walks the imports of a source and answers what is not allowed."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

CLOCK_AND_IO = frozenset(
    ("asyncio", "concurrent", "datetime", "http", "io", "multiprocessing", "os", "pathlib", "random", "sched",
     "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess",
     "tempfile", "threading", "time", "urllib", "uuid")
)  # fmt: skip
CONFIGURATION = (
    "gmqtt_platform.config.loader",
    "gmqtt_platform.config.values",
    "gmqtt_platform.config.auth",
    "gmqtt_platform.config.broker",
    "gmqtt_platform.config.cluster",
)
APPS = ("gateway", "auth", "cluster", "console")
# Who asks, may it, the audit trail, and how a REST API of this project answers: the same for every app.
ASKING = (
    *(f"apps.auth.{name}" for name in ("actors", "audit", "errors", "rbac", "validators")),
    *(f"apps.auth.api.{name}" for name in ("base", "fields", "idempotency", "lists", "problems")),
)
VALUES = ("apps.gateway.mqtt.topics", "apps.gateway.mqtt.reasons", "apps.gateway.mqtt.errors")


@dataclass(frozen=True)
class Rule:
    """What a part of the project may import: the modules whose names start with `own`."""

    own: str
    project: tuple[str, ...] = ()  # modules of the project, with everything below them
    packages: tuple[str, ...] | None = None  # from outside beside the standard library; None = any
    no_stdlib: frozenset[str] = field(default_factory=frozenset)
    no_packages: tuple[str, ...] = ()


# The first rule whose `own` a module's name starts with holds for it.
RULES = (
    Rule("apps.gateway.compiled", (), ()),
    Rule("apps.gateway.mqtt", ("apps.gateway.mqtt", "apps.gateway.compiled"), (), CLOCK_AND_IO),
    Rule(
        "apps.gateway.broker",
        ("apps.gateway.broker", "apps.gateway.mqtt", "apps.gateway.compiled"),
        (),
        CLOCK_AND_IO,
    ),
    Rule(
        "apps.gateway.net",
        ("apps.gateway.net", "apps.gateway.broker", "apps.gateway.mqtt"),
        no_packages=("django", "channels", "rest_framework", "daphne", "twisted", "celery"),
    ),
    Rule(
        "apps.gateway.sessions",
        ("apps.gateway.sessions", "apps.gateway.broker", "apps.gateway.mqtt", "apps.gateway.compiled"),
        (),
    ),
    # Commands are entry points: they start what the composition root has built.
    *(Rule(f"apps.{app}.management", (f"apps.{app}", "gmqtt_platform")) for app in APPS),
    Rule("apps.gateway", ("apps.gateway", *CONFIGURATION)),
    Rule(
        "apps.auth",
        ("apps.auth", "apps.gateway.broker.ports", "apps.gateway.broker.messages", *VALUES, *CONFIGURATION),
    ),
    Rule(
        "apps.cluster.admin",  # its pages ban clients, too, and two operators may have one open
        (
            "apps.cluster",
            "apps.auth.services.bans",
            "apps.common.forms",
            "apps.common.lists",
            "apps.gateway.mqtt",
            *ASKING,
            *CONFIGURATION,
        ),
    ),
    Rule(  # what a node's store hands over, and gets
        "apps.cluster.sessions",
        (
            "apps.cluster",
            "apps.gateway.broker.messages",
            "apps.gateway.broker.stats",
            "apps.gateway.mqtt",
            "apps.gateway.sessions",
        ),
    ),
    Rule(
        "apps.cluster",
        (
            "apps.cluster",
            "apps.gateway.broker.ports",
            "apps.gateway.broker.messages",
            "apps.gateway.broker.completion",
            "apps.gateway.mqtt",
            *ASKING,
            *CONFIGURATION,
        ),
    ),
    Rule(
        "apps.console",
        (
            "apps.console",
            *(
                f"apps.{app}.{door}"
                for app in ("gateway", "auth", "cluster")
                for door in ("services", "selectors")
            ),
            *ASKING,
            *CONFIGURATION,
        ),
    ),
    Rule("gmqtt_platform", ("apps", "gmqtt_platform")),
)


def below(module: str, starts: tuple[str, ...]) -> bool:
    return any(module == start or module.startswith(start + ".") for start in starts)


def rule_of(module: str) -> Rule:
    for rule in RULES:
        if below(module, (rule.own,)):
            return rule
    raise LookupError(f"no rule says what {module} may import")


def imported(module: str, source: str, is_package: bool) -> Iterator[str]:
    """The modules that a source imports, wherever it does; `from package import module` gives the module."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, base] if base else parents)
            yield from (_target(base, alias.name) for alias in node.names)


def _target(base: str, name: str) -> str:
    path = ROOT.joinpath(*base.split("."), name)
    return f"{base}.{name}" if path.with_suffix(".py").exists() or path.is_dir() else base


def wrong_arrows(module: str, source: str, is_package: bool = False) -> list[str]:
    found = set(imported(module, source, is_package))
    if not found:
        return []
    rule = rule_of(module)
    return sorted(name for name in found if not _allowed(rule, name))


def _allowed(rule: Rule, name: str) -> bool:
    top = name.partition(".")[0]
    if top in ("apps", "gmqtt_platform", "tests", "bench"):
        return below(name, rule.project)
    if top in sys.stdlib_module_names:
        return top not in rule.no_stdlib
    return (rule.packages is None or top in rule.packages) and not below(name, rule.no_packages)


def modules() -> Iterator[tuple[str, Path]]:
    """The project's modules, by name."""
    for top in ("apps", "gmqtt_platform"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path
