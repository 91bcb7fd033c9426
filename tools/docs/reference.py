"""The reference pages, made from the code: REST, command line, configuration, metrics."""

from __future__ import annotations

import argparse
import functools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django

ROOT = Path(__file__).resolve().parent.parent.parent
METHODS = ("get", "post", "put", "patch", "delete")
MANAGE = ("createserviceaccount", "ensure_operator", "runauth", "rungateway", "seed_directory")
Schema = dict[str, Any]


def pages() -> dict[str, str]:
    """Name of a page -> Markdown."""
    django.setup()
    made = {"rest": rest(), "command-line": command_line(), "configuration": configuration()}
    return made | {"metrics": metrics()}


def cell(text: object) -> str:
    """Text for a cell of a table."""
    return str(text).replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell(each) for each in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------- REST


@functools.cache
def schema() -> Schema:
    from drf_spectacular.generators import SchemaGenerator

    made: Schema = SchemaGenerator().get_schema(request=None, public=True)
    return made


def rest() -> str:
    made = schema()
    models = made["components"]["schemas"]
    tagged: dict[str, list[str]] = defaultdict(list)
    for path, operations in made["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                tagged[operation.get("tags", ["other"])[0]].append(_operation(path, method, operation))
    text = "# REST\n\n"
    text += (
        "All paths are below the address of a node's HTTP listener. A request carries `Authorization:"
        " Bearer` with a"
        " token of `/api/v1/auth/token/`. What is refused is answered as `application/problem+json` with a"
        " `code` for"
        " programs. A node shows the same at `/api/docs/`, to try, and at `/api/schema/`, for code"
        " generators.\n\n"
    )
    for tag in sorted(tagged):
        text += f"## {tag}\n\n" + "".join(tagged[tag])
    text += "## Schemas\n\n"
    for name in sorted(models):
        text += _model(name, models[name])
    return text


def _operation(path: str, method: str, operation: Schema) -> str:
    text = f"### {method.upper()} `{path}` {{ #{operation['operationId']} }}\n\n"
    said = [operation.get("summary", ""), operation.get("description", "")]
    text += "".join(f"{each}\n\n" for each in said if each)
    rows = [
        (f"`{each['name']}`", each["in"], _type(each.get("schema", {})), each.get("description", ""))
        for each in operation.get("parameters", [])
    ]
    if rows:
        text += table(("parameter", "in", "type", "what"), rows) + "\n"
    body = operation.get("requestBody", {}).get("content", {})
    if body:
        text += f"Body: {_bodies(body)}.\n\n"
    for status, answer in operation["responses"].items():
        if status != "default":
            text += f"Answer {status}: {_bodies(answer.get('content', {})) or 'nothing'}.\n\n"
    return text


def _bodies(content: Schema) -> str:
    return ", ".join(f"{_type(each.get('schema', {}))} (`{kind}`)" for kind, each in content.items())


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#schema-{name.lower()})"
    for joined in ("allOf", "oneOf", "anyOf"):
        if joined in schema:
            return " or ".join(_type(each) for each in schema[joined])
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    kind = str(schema.get("type", "any"))
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _model(name: str, model: Schema) -> str:
    text = f"### {name} {{ #schema-{name.lower()} }}\n\n"
    if model.get("description"):
        text += model["description"] + "\n\n"
    if "properties" not in model:
        return text + _type(model) + "\n\n"
    required = set(model.get("required", ()))
    rows = [
        (f"`{key}`", _type(each), "yes" if key in required else "", each.get("description", ""))
        for key, each in model["properties"].items()
    ]
    return text + table(("field", "type", "required", "what"), rows) + "\n"


# ---------------------------------------------------------------- command line


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Each command by its words below `parser`, itself not."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield (name,), below
                for words, deeper in commands(below):
                    yield (name, *words), deeper


def command_line() -> str:
    from django.core.management import load_command_class

    from gmqtt_platform import command

    top = command.parser()
    text = "# Command line\n\n"
    text += (
        "`gmqtt` is the command of an installation; in a checkout it is `.venv/bin/python -m"
        " gmqtt_platform`. It ends"
        " with 0, 1 (refused, with the reason), 2 (the command or the configuration is not understood) or 3"
        " (no node"
        " answers).\n\n"
    )
    text += _help(top, "gmqtt")
    helps = _helps(top)
    for words, parser in commands(top):
        if not any(isinstance(each, argparse._SubParsersAction) for each in parser._actions):
            said = parser.description or helps.get(words, "")
            text += f"## gmqtt {' '.join(words)}\n\n{said}\n\n" + _help(parser, f"gmqtt {' '.join(words)}")
    text += "## Commands of manage.py\n\nIn an installation: `gmqtt manage COMMAND`.\n\n"
    for name in MANAGE:
        app = next(path for path in ROOT.glob(f"apps/*/management/commands/{name}.py")).parts[-4]
        made = load_command_class(f"apps.{app}", name).create_parser("manage.py", name)
        text += f"### {name}\n\n" + _help(made, f"manage.py {name}")
    return text


def _helps(parser: argparse.ArgumentParser, words: tuple[str, ...] = ()) -> dict[tuple[str, ...], str]:
    """What a command's parent says of it."""
    found: dict[tuple[str, ...], str] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action._choices_actions:
                found[(*words, each.dest)] = each.help or ""
            for name, below in action.choices.items():
                found |= _helps(below, (*words, name))
    return found


def _help(parser: argparse.ArgumentParser, program: str) -> str:
    parser.prog = program
    shown = re.sub(r"\n{3,}", "\n\n", parser.format_help()).strip()
    return f"```text\n{shown}\n```\n\n"


# ---------------------------------------------------------------- configuration


def comments() -> dict[str, str]:
    """ "table" or "table.key" -> what conf.toml says beside it."""
    found: dict[str, str] = {}
    here = ""
    for line in (ROOT / "conf" / "conf.toml").read_text().splitlines():
        code, _, said = _split(line)
        if head := re.fullmatch(r"\[([a-z0-9_.]+)\]", code):
            here = head[1]
            found[here] = said
        elif assigned := re.match(r"([a-z0-9_]+)\s*=", code):
            found[f"{here}.{assigned[1]}"] = said
    return found


def _split(line: str) -> tuple[str, str, str]:
    """Code, "#" and comment of a line of TOML; a # in a text is none."""
    quoted = False
    for at, character in enumerate(line):
        quoted ^= character == '"'
        if character == "#" and not quoted:
            return line[:at].strip(), "#", line[at + 1 :].strip()
    return line.strip(), "", ""


def configuration() -> str:
    from gmqtt_platform.config import loader

    said = comments()
    delivered = _delivered()
    text = "# Configuration\n\n"
    text += (
        "The file is `conf/conf.toml` of a checkout, `gmqtt.toml` in the current directory of an installation"
        " (`gmqtt init` writes it), or what `GMQTT_CONF` names. Every key can be left out."
        " `GMQTT_<TABLE>__<KEY>`"
        " overrides the file, and `GMQTT_<TABLE>__<KEY>_FILE` names a file with the value; lists are"
        " separated by"
        " commas. `GMQTT_SECRET_KEY` and `GMQTT_SECRET_KEY_FALLBACKS`, each with `_FILE` if wanted, are the"
        " secret key"
        " and the keys before it. A node reads the files of certificates again at SIGHUP; other keys take a"
        " restart.\n\n"
    )
    for name, kind in loader.TABLES.items():
        text += f"## [{name}] {{ #{name.replace('.', '-')} }}\n\n"
        if said.get(name):
            text += f"{said[name][0].upper()}{said[name][1:]}.\n\n"
        rows = []
        for each in fields(kind):
            rule = each.metadata.get("rule")
            if rule is None:
                continue
            key = f"{name}.{each.name}"
            variable = f"GMQTT_{name.upper().replace('.', '__')}__{each.name.upper()}"
            default = delivered.get(key, "")
            rows.append((f"`{each.name}`", f"`{default}`", said.get(key, ""), rule.allowed, f"`{variable}`"))
        text += table(("key", "default", "what", "allowed", "variable"), rows) + "\n"
    return text


def _delivered() -> dict[str, str]:
    """ "table.key" -> its default as TOML writes it."""
    found: dict[str, str] = {}
    here = ""
    for line in (ROOT / "conf" / "conf.toml").read_text().splitlines():
        code = _split(line)[0]
        if head := re.fullmatch(r"\[([a-z0-9_.]+)\]", code):
            here = head[1]
        elif "=" in code:
            key, _, value = code.partition("=")
            found[f"{here}.{key.strip()}"] = value.strip()
    return found


# ---------------------------------------------------------------- metrics


def metrics() -> str:
    from apps.common import node_services
    from apps.console import metrics as declared
    from apps.gateway.broker.stats import DROP_REASONS

    before = node_services.current()
    node_services.install(node_services.NodeServices("none", _Nothing))
    try:
        with _figures_of_a_node():
            families = list(declared.registry.collect())
    finally:
        node_services.install(before)
    text = "# Metrics\n\n"
    text += (
        "`/metrics` of a node, in Prometheus' text format. It asks for a bearer token:"
        " `console.metrics_token`, or, where"
        " that is empty, the file `metrics_token` in `node.data_dir`. A counter's name ends with `_total`"
        " there. No"
        " label names a client or a topic. `conf/grafana/gmqtt.json` is a dashboard.\n\n"
    )
    labels = {"gmqtt_dropped_messages": "`reason`", "gmqtt_refused_connects": "`reason_code`"}
    rows = [
        (
            f"`{_exposed(each)}`",
            each.type,
            f"`{labels[each.name]}`" if each.name in labels else "",
            each.documentation,
        )
        for each in families
    ]
    text += table(("metric", "type", "label", "what"), rows)
    text += "\n## Reasons of dropped messages\n\n"
    text += "".join(f"- `{reason}`\n" for reason in sorted(DROP_REASONS))
    return text


@contextmanager
def _figures_of_a_node() -> Iterator[None]:
    """What a node of a cluster puts into `sources`, for the while."""
    from apps.common import database
    from apps.console import sources
    from apps.gateway.broker.histogram import Histogram
    from gmqtt_platform import figures

    filled: tuple[dict[str, Any], ...] = (sources.gauges, sources.counters, sources.histograms)
    before = [dict(each) for each in filled]
    single = (sources.version, sources.cluster_stats, database.observe)
    stats = SimpleNamespace(connect_seconds=Histogram(), ack_seconds=Histogram())
    producer = SimpleNamespace(status=lambda: defaultdict(float), delivery_seconds=Histogram())
    cluster: Any = SimpleNamespace(producer=producer, bridge_status=dict)
    node: Any = SimpleNamespace(stats=stats)
    figures.show(node, cluster)
    figures.show_loop(lambda: 0.0, lambda: 0)
    try:
        yield
    finally:
        for each, entries in zip(filled, before, strict=True):
            each.clear()
            each.update(entries)
        sources.version, sources.cluster_stats, database.observe = single


def _exposed(family: Any) -> str:
    return str(family.name) + {"counter": "_total", "info": "_info"}.get(family.type, "")


class _Nothing(dict[str, Any]):
    """The counters of a node that has counted nothing."""

    def __missing__(self, key: str) -> Any:
        return {} if key in ("drops", "refused") else 0
