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
from tests.apps.auth.api.test_permissions import CALLERS, NO, routes
from tests.apps.auth.factories import ClientFactory
from tests.apps.cluster.factories import NodeFactory, SessionFactory
from tests.apps.cluster.support.running import RunningNode
from tests.support.node_services import provide

pytestmark = pytest.mark.django_db
V1 = "/api/v1/cluster/"

# Status of nobody, gateway, registrar, viewer, admin, alice, bob, charlie.
TABLE: dict[tuple[str, str], tuple[int, ...]] = {
    ("status/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("clients/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("sessions/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("sessions/<int:pk>/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("sessions/<int:pk>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 204, 403),
    ("sessions/<int:pk>/kick/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/subscribe/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/unsubscribe/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/queue/", "GET"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/queue/purge/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("sessions/<int:pk>/queue/replay/", "POST"): (NO, 403, 403, 403, 200, 200, 200, 403),
    ("topics/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("subscriptions/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("recipients/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("retained/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("retained/message/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("retained/message/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("drops/", "GET"): (NO, 403, 403, 200, 200, 200, 200, 403),
    ("publish/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/drain/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("nodes/<int:pk>/drain/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/drain/", "DELETE"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/configuration/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/configuration/diff/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/configuration/reload/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("nodes/<int:pk>/dump/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("traces/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("traces/", "POST"): (NO, 403, 403, 403, 201, 201, 403, 403),
    ("traces/<slug:trace>/", "GET"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("traces/<slug:trace>/", "DELETE"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("traces/<slug:trace>/stop/", "POST"): (NO, 403, 403, 403, 204, 204, 403, 403),
    ("bridges/", "GET"): (NO, 403, 403, 200, 200, 200, 403, 403),
    ("bridges/<str:node>/pause/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
    ("bridges/<str:node>/resume/", "POST"): (NO, 403, 403, 403, 200, 200, 403, 403),
}
BODIES: dict[str, Any] = {
    "sessions/<int:pk>/kick/": {"text": "bye"},
    "sessions/<int:pk>/subscribe/": {"filter": "a"},
    "sessions/<int:pk>/unsubscribe/": {"filter": "a"},
    "sessions/<int:pk>/queue/replay/": {"to": "pump-2"},
    "publish/": {"topic": "a", "payload": "x"},
    "traces/": {"kind": "client", "value": "c"},
}
QUERIES = {"recipients/": "?topic=a", "retained/message/": "?topic=kept"}


class Bridge:
    """A `BridgeControl` of a node that has one."""

    def status(self) -> list[dict[str, Any]]:
        return [{"node": "test", "state": "running", "lag": 3}]

    def pause(self, node: str) -> dict[str, Any]:
        return {"node": node, "state": "paused", "lag": 3}

    def resume(self, node: str) -> dict[str, Any]:
        return {"node": node, "state": "running", "lag": 3}


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
