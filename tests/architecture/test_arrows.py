"""The layers: who may import whom (docs/architecture.md). Any other arrow fails."""

from __future__ import annotations

import re

import pytest

from tests.architecture import arrows


def test_no_wrong_arrow() -> None:
    wrong = {
        name: found
        for name, path in arrows.modules()
        if (found := arrows.wrong_arrows(name, path.read_text(), path.name == "__init__.py"))
    }
    assert not wrong


def test_contributing_shows_the_rules() -> None:
    """`python -m tests.architecture.arrows` prints the table."""
    assert arrows.table() in (arrows.ROOT / "CONTRIBUTING.md").read_text()


def test_the_paths_that_the_documents_name_exist() -> None:
    missing = {
        f"{document}: {path}"
        for document in ("README.md", "CONTRIBUTING.md", *sorted(map(str, arrows.documents())))
        for path in arrows.named_paths((arrows.ROOT / document).read_text())
        if not arrows.exists(path)
    }
    assert not missing


def test_nothing_is_imported_from_a_test() -> None:
    """What tests share stands in a module that is no test."""
    root = arrows.ROOT / "tests"
    imported = re.compile(r"^(?:from|import) (tests[.\w]*\btest_\w+)", re.MULTILINE)
    wrong = {
        str(path.relative_to(root)): found
        for path in sorted(root.rglob("*.py"))
        if (found := imported.findall(path.read_text()))
    }
    assert not wrong


def test_every_layer_is_there() -> None:
    names = {name for name, _ in arrows.modules()}
    for layer in ("mqtt.codec", "broker.connection", "net.server", "consumers"):
        assert f"apps.gateway.{layer}" in names


BAD = [
    ("apps.gateway.mqtt.codec", "import asyncio"),
    ("apps.gateway.mqtt.codec", "import django"),
    ("apps.gateway.mqtt.codec", "from apps.gateway.broker import node"),
    ("apps.gateway.mqtt.codec", "from ..broker import node"),
    ("apps.gateway.mqtt.codec", "from apps.gateway import broker"),
    ("apps.gateway.broker.node", "import time"),
    ("apps.gateway.broker.node", "from time import monotonic"),
    ("apps.gateway.broker.node", "import asyncio"),
    ("apps.gateway.broker.node", "import asyncio.events"),
    ("apps.gateway.broker.node", "import uvloop"),
    ("apps.gateway.broker.node", "from django.conf import settings"),
    ("apps.gateway.broker.node", "from apps.gateway.net import runner"),
    ("apps.gateway.broker.node", "from apps.gateway import net"),
    ("apps.gateway.broker.node", "from apps.auth import acl"),
    ("apps.gateway.broker.node", "import apps.cluster.routes"),
    ("apps.gateway.broker.node", "def late() -> None:\n    import socket"),
    ("apps.gateway.broker.node", "if TYPE_CHECKING:\n    from apps.gateway.consumers import MqttConsumer"),
    ("apps.gateway.net.server", "from django.conf import settings"),
    ("apps.gateway.net.server", "from apps.gateway.consumers import MqttConsumer"),
    ("apps.gateway.net.server", "from gmqtt_platform import conf"),
    ("apps.gateway.net.server", "import channels.layers"),
    ("apps.gateway.consumers", "from apps.auth.providers import base"),
    ("apps.gateway.consumers", "from apps.cluster import membership"),
    ("apps.gateway.consumers", "from apps.console import views"),
    ("apps.gateway.consumers", "from gmqtt_platform import wiring"),
    ("apps.gateway.compiled", "from apps.gateway.mqtt import codec"),
    ("apps.auth.acl", "from apps.gateway.net import server"),
    ("apps.auth.acl", "from apps.gateway.broker import node"),
    ("apps.auth.acl", "from apps.gateway.broker.session import Session"),
    ("apps.auth.acl", "from apps.cluster import services"),
    ("apps.auth.acl", "from apps.console import views"),
    ("apps.auth.acl", "from gmqtt_platform import wiring"),
    ("apps.cluster.routes", "from apps.auth import models"),
    ("apps.cluster.services", "from apps.auth.services import clients"),
    ("apps.common.actors", "from apps.cluster import models"),
    ("apps.common.actors", "from apps.auth import models"),
    ("apps.cluster.coordination.lease", "from apps.cluster.bridge import records"),
    ("apps.cluster.coordination.lease", "from apps.cluster import models"),
    ("apps.cluster.bridge.records", "from apps.cluster import services"),
    ("apps.cluster.routes", "from apps.gateway.broker import trie"),
    ("apps.console.views", "from apps.auth import models"),
    ("apps.console.views", "from apps.auth.models import Client"),
    ("apps.console.views", "from apps.gateway.broker import node"),
    ("apps.console.views", "from apps.cluster.bridge import pump"),
    ("apps.gateway.broker.node", "from tests.apps.gateway.support import world"),
]


@pytest.mark.parametrize(("module", "source"), BAD)
def test_a_wrong_arrow_is_found(module: str, source: str) -> None:
    assert len(arrows.wrong_arrows(module, source)) == 1


GOOD = [
    ("apps.gateway.mqtt.codec", "from apps.gateway.mqtt import packets, wire"),
    ("apps.gateway.mqtt.codec", "from . import packets"),
    ("apps.gateway.broker.node", "import heapq\nfrom apps.gateway.mqtt import codec"),
    ("apps.gateway.net.server", "import asyncio, ssl\nfrom apps.gateway.broker.node import Node"),
    ("apps.gateway.consumers", "import channels\nfrom apps.gateway.net.decisions import decide"),
    ("apps.auth.acl", "from apps.gateway.broker.ports import Acl\nfrom apps.gateway.mqtt import topics"),
    ("apps.cluster.services", "from apps.common import audit\nfrom apps.common.actors import Actor"),
    (
        "apps.cluster.api.nodes",
        "from apps.common.api.base import ApiView\nfrom apps.cluster import selectors",
    ),
    ("apps.console.views", "from apps.auth.services.clients import create\nfrom apps.auth import selectors"),
    ("gmqtt_platform.wiring", "from apps.auth import acl\nfrom apps.gateway.broker.node import Node"),
]


@pytest.mark.parametrize(("module", "source"), GOOD)
def test_right_arrows_pass(module: str, source: str) -> None:
    assert arrows.wrong_arrows(module, source) == []


def test_a_module_that_no_rule_knows() -> None:
    with pytest.raises(LookupError):
        arrows.wrong_arrows("apps.billing.models", "import os")
