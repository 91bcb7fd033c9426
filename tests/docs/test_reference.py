"""The generated pages are complete: each path, command, key, metric and statement is on its page."""

from __future__ import annotations

import argparse
import re
import urllib.request
from pathlib import Path

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from apps.gateway.broker.stats import DROP_REASONS
from gmqtt_platform import command
from gmqtt_platform.config import loader
from tests.wire import nodes
from tests.wire.nodes import Node
from tools.docs import conformance, reference


def routes(patterns: list[URLPattern | URLResolver], prefix: str = "") -> set[str]:
    found = set()
    for each in patterns:
        path = prefix + str(each.pattern)
        if isinstance(each, URLResolver):
            found |= routes(each.url_patterns, path)
        else:
            found.add("/" + path.replace("^", "").removesuffix("$").removesuffix("/?").removesuffix("/"))
    return found


def test_every_route_of_the_api_is_on_the_page() -> None:
    page = reference.rest()
    shown = {re.sub(r"\{(\w+)\}", "*", path).rstrip("/") for path in re.findall(r"`(/api/v1/[^`]*)`", page)}
    there = {re.sub(r"<[^>]*>", "*", path) for path in routes(get_resolver().url_patterns)}
    missing = {path for path in there if path.startswith("/api/v1/")} - shown
    assert not missing


def test_every_operation_and_schema_has_its_place() -> None:
    page, schema = reference.rest(), reference.schema()
    for path, operations in schema["paths"].items():
        for method in set(operations) & set(reference.METHODS):
            assert f"### {method.upper()} `{path}`" in page
    for name in schema["components"]["schemas"]:
        assert f"{{ #schema-{name.lower()} }}" in page
    assert set(re.findall(r"\(#(schema-[\w-]+)\)", page)) <= set(re.findall(r"\{ #(schema-[\w-]+) \}", page))


def test_every_command_is_on_the_page() -> None:
    page = reference.command_line()
    seen = 0
    for words, parser in reference.commands(command.parser()):
        if any(isinstance(each, argparse._SubParsersAction) for each in parser._actions):
            continue
        seen += 1
        part = page.partition(f"\n## gmqtt {' '.join(words)}\n")[2].partition("\n## ")[0]
        for action in parser._actions:
            for option in action.option_strings:
                assert option in part, (words, option)
    assert seen > 40


def test_commands_of_the_project_are_all_listed() -> None:
    there = {path.stem for path in loader.ROOT.glob("apps/*/management/commands/[a-z]*.py")} - {"gmqtt"}
    assert there == set(reference.MANAGE)


def test_every_key_is_on_the_page_with_its_default_and_meaning() -> None:
    page = reference.configuration()
    defaults = reference._delivered()
    for table, rules in loader.RULES.items():
        part = page.partition(f"## [{table}] ")[2].partition("\n## ")[0]
        for key, rule in rules.items():
            rows = [line for line in part.splitlines() if line.startswith(f"| `{key}` |")]
            assert len(rows) == 1, f"{table}.{key}"
            assert reference.cell(rule.allowed) in rows[0]
            if rule.kind is not dict:
                assert f"`{reference.cell(defaults[f'{table}.{key}'])}`" in rows[0]


def test_every_metric_that_a_node_shows_is_on_the_page(tmp_path: Path) -> None:
    nodes.migrate(tmp_path / "data")
    token = "t" * 32
    with Node(tmp_path / "data", CONSOLE__METRICS_TOKEN=token) as node:
        request = urllib.request.Request(
            f"http://127.0.0.1:{node.ws}/metrics", headers={"Authorization": f"Bearer {token}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read().decode()
    page = reference.metrics()
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert len(shown) > 25
    assert {name for name in shown if f"`{name}`" not in page} == set()
    assert all(f"- `{reason}`" in page for reason in DROP_REASONS)


def test_tags_name_statements_that_exist() -> None:
    assert conformance.unknown() == set()


@pytest.mark.parametrize(("version", "count"), [("5.0", 240), ("3.1.1", 130)])
def test_every_statement_is_in_the_table(version: str, count: int) -> None:
    page = conformance.page().partition(f"### All, {version}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d\S*) \|", page, re.MULTILINE)
    assert rows == list(conformance.statements(version)) and len(rows) > count


def test_statements_of_3_1_1_refer_to_those_of_5_0() -> None:
    new = conformance.statements("5.0")
    assert all(not each.in5 or each.in5 in new for each in conformance.statements("3.1.1").values())


def test_ranges_of_tags() -> None:
    assert conformance.numbers("[MQTT-3.1.2-4] to [MQTT-3.1.2-6], [MQTT-4.7.1-2]") == {
        "3.1.2-4",
        "3.1.2-5",
        "3.1.2-6",
        "4.7.1-2",
    }
