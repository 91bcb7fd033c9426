"""Who may import whom. `wrong_arrows` walks the imports of a source and answers what is not allowed."""

from __future__ import annotations

import ast
import re
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
CONFIGURATION = ("gmqtt_platform.config",)
APPS = ("gateway", "auth", "cluster", "console")
VALUES = ("apps.gateway.mqtt.topics", "apps.gateway.mqtt.reasons", "apps.gateway.mqtt.errors")
# What the broker and those who wire it agree on.
BROKER_PORTS = tuple(
    f"apps.gateway.broker.{name}" for name in ("ports", "messages", "completion", "stats", "histogram")
)


@dataclass(frozen=True)
class Rule:
    """What a part of the project may import: the modules whose names start with `own`."""

    own: str
    project: tuple[str, ...] = ()  # modules of the project, with everything below them
    packages: tuple[str, ...] | None = None  # from outside beside the standard library; None = any
    no_stdlib: frozenset[str] = field(default_factory=frozenset)
    no_packages: tuple[str, ...] = ()


# The first rule whose `own` a module's name starts with holds for it. CONTRIBUTING shows this table.
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
    *(Rule(f"apps.{app}.management", (f"apps.{app}", "apps.common", "gmqtt_platform")) for app in APPS),
    Rule("apps.common", ("apps.common", *VALUES)),
    Rule("apps.gateway", ("apps.gateway", *CONFIGURATION)),
    Rule("apps.auth", ("apps.auth", "apps.common", *BROKER_PORTS[:2], *VALUES, *CONFIGURATION)),
    # What one node does in a cluster: it drives the broker and its session store.
    *(
        Rule(own, ("apps.cluster", "apps.common", "apps.gateway", *CONFIGURATION))
        for own in ("apps.cluster.node", "apps.cluster.sessions")
    ),
    Rule(
        "apps.cluster.coordination",  # Redis: knows neither Kafka nor the database
        (
            *("apps.cluster.coordination", "apps.common.filter_tree", "apps.common.signed"),
            *BROKER_PORTS,
            "apps.gateway.mqtt",
        ),
    ),
    Rule(
        "apps.cluster.bridge",  # Kafka
        (
            *(f"apps.cluster.{name}" for name in ("bridge", "coordination", "sessions", "models")),
            "apps.common",
            *BROKER_PORTS,
            "apps.gateway.mqtt",
            *CONFIGURATION,
        ),
    ),
    # The admin's pages of clients have a ban button.
    Rule(
        "apps.cluster.admin",
        ("apps.cluster", "apps.common", "apps.auth.services", "apps.auth.permissions", "apps.gateway.mqtt"),
    ),
    Rule(
        "apps.cluster.live_queries",  # "explain" shows access rules
        ("apps.cluster", "apps.common", "apps.auth.permissions"),
    ),
    Rule("apps.cluster", ("apps.cluster", "apps.common", *BROKER_PORTS, "apps.gateway.mqtt", *CONFIGURATION)),
    Rule(
        "apps.console",
        (
            *("apps.console", "apps.common"),
            *(f"apps.{app}.{door}" for app in APPS for door in ("services", "selectors", "permissions")),
            *CONFIGURATION,
        ),
    ),
    Rule("gmqtt_platform.config", ("gmqtt_platform.config", "gmqtt_platform.log"), no_packages=("django",)),
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


def table() -> str:
    """The rules as CONTRIBUTING shows them, in Markdown."""
    rows = ["| module | may import | must not import |", "|---|---|---|"]
    for rule in RULES:
        project = [each for each in rule.project if each != rule.own] or ["nothing of the project"]
        others = "" if rule.packages is None else "; no other package"
        no = list(rule.no_packages) + (["asyncio, time, sockets, files"] if rule.no_stdlib else [])
        rows.append(f"| `{rule.own}` | {', '.join(project)}{others} | {', '.join(no)} |")
    return "\n".join(rows)


def documents() -> list[Path]:
    return [path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")]


_PATH = re.compile(r"`((?:apps|gmqtt_platform|conf|tests|bench|tools|webclient|docs)/[\w./-]*)`")


def named_paths(text: str) -> set[str]:
    """The files and folders of the project that a document names in backquotes."""
    return set(_PATH.findall(text))


def exists(path: str) -> bool:
    return (ROOT / path).exists()


if __name__ == "__main__":
    print(table())
