"""The table of /api/v1/cluster/: endpoint x method x caller -> status. No address is missing from it.

The callers are those of tests/apps/auth/api/test_permissions.py: bob manages the clients of one group, to
which the clients of these tests belong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.urls import get_resolver
from rest_framework.test import APIClient

from apps.auth.models import ClientGroup
from apps.cluster.bridge.operators import BridgeControl
from apps.common import rbac
from apps.gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from apps.gateway.operator.tracing import Trace
from tests.apps.auth.api.conftest import Caller, operator
from tests.apps.auth.api.table import CALLERS, routes
from tests.apps.auth.factories import ClientFactory
from tests.apps.cluster.api.table import TABLE, Bridge
from tests.apps.cluster.factories import NodeFactory, SessionFactory
from tests.apps.cluster.support.running import RunningNode
from tests.support.node_services import provide

pytestmark = pytest.mark.django_db
V1 = "/api/v1/cluster/"

BODIES: dict[str, Any] = {
    "sessions/<int:pk>/kick/": {"text": "bye"},
    "sessions/<int:pk>/subscribe/": {"filter": "a"},
    "sessions/<int:pk>/unsubscribe/": {"filter": "a"},
    "sessions/<int:pk>/queue/replay/": {"to": "pump-2"},
    "publish/": {"topic": "a", "payload": "x"},
    "traces/": {"kind": "client", "value": "c"},
}
QUERIES = {"recipients/": "?topic=a", "retained/message/": "?topic=kept"}


@pytest.fixture
def caller(service: Caller, alice: User, bob: User, charlie: User) -> Callable[[str], APIClient]:
    operators = {"alice": alice, "bob": bob, "charlie": charlie}

    def make(name: str) -> APIClient:
        if name == "nobody":
            return APIClient()
        return operator(operators[name]) if name in operators else service(name)

    return make


@pytest.mark.parametrize(("path", "method"), TABLE)
def test_the_table(
    path: str,
    method: str,
    roles: None,
    caller: Callable[[str], APIClient],
    pumps: ClientGroup,
    node: RunningNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    provide(monkeypatch, {BridgeControl: Bridge()})
    pk = NodeFactory(name="gone", state="down").pk
    steered = NodeFactory(name="test").pk
    if any(each in path for each in ("/drain/", "/configuration/", "/dump/")):
        pk = steered
    for client_id in ("pump-1", "pump-2"):
        ClientFactory(client_id=client_id, groups=[pumps])
        session = SessionFactory(client_id=client_id)
    if path.startswith("sessions/"):
        pk = session.pk - 1
    url = (
        V1
        + path.replace("<int:pk>", str(pk)).replace("<str:node>", "test").replace("<slug:trace>", "recorded")
        + QUERIES.get(path, "")
    )
    answers = []
    for name in CALLERS:
        client = caller(name)

        def prepare() -> None:
            node.world.node.drain = None
            node.world.node.tracer.start(Trace("recorded", "client", "c", node.world.now + 60))
            lasting = {SESSION_EXPIRY_INTERVAL: 100}
            for client_id in ("pump-1", "pump-2"):
                node.world.join(client_id, properties=lasting)
            node.world.join("tap").publish("kept", b"x", retain=True)

        node.do(prepare)
        with transaction.atomic():  # each caller finds the rows as they were
            response = getattr(client, method.lower())(url, BODIES.get(path), format="json")
            answers.append(response.status_code)
            transaction.set_rollback(True)
    assert tuple(answers) == TABLE[path, method], dict(zip(CALLERS, answers, strict=True))


def test_no_address_is_missing() -> None:
    served = set()
    for path, pattern in routes(get_resolver().url_patterns):
        if not path.startswith("api/v1/cluster/"):
            continue
        view = pattern.callback.view_class
        for method in rbac.ENDPOINTS[str(pattern.name)]:
            assert hasattr(view, method.lower())
        for method in ("get", "post", "put", "patch", "delete"):
            if method in view.http_method_names and hasattr(view, method):
                assert method.upper() in rbac.ENDPOINTS[str(pattern.name)]
                served.add((path.removeprefix("api/v1/cluster/"), method.upper()))
    assert served == set(TABLE)
    count = sum(len(methods) for name, methods in rbac.ENDPOINTS.items() if name.startswith("cluster-"))
    assert count == len(TABLE)
