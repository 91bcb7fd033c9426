"""schemathesis calls every operation as its schema says, with a node behind: no answer is a 500."""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, Phase, given, settings

from apps.cluster.bridge.operators import BridgeControl
from apps.gateway.mqtt.properties import SESSION_EXPIRY_INTERVAL
from tests.apps.auth.api.conftest import token_of
from tests.apps.auth.api.schemas import CHECKS, EVERY, one_connection
from tests.apps.auth.factories import AccountFactory
from tests.apps.cluster.api.table import Bridge
from tests.apps.cluster.factories import DropFactory, NodeFactory, SessionFactory, SubscriptionFactory
from tests.apps.cluster.support.running import RunningNode
from tests.support.node_services import provide

__all__ = ["one_connection"]
pytestmark = pytest.mark.django_db

OPERATIONS = [one for one in EVERY if one.path.startswith("/api/v1/cluster/")]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_every_answer_is_one_that_the_schema_describes(
    operation: Any, roles: None, node: RunningNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    provide(monkeypatch, {BridgeControl: Bridge()})
    token = token_of(AccountFactory(roles=["admin"]))
    session = SessionFactory(client_id="pump")
    pk = NodeFactory(name="test").pk if "/nodes/" in operation.path else session.pk
    SubscriptionFactory(filter="+/#")
    DropFactory()
    lasting = {SESSION_EXPIRY_INTERVAL: 1000}
    turn = count()

    def prepare() -> None:
        node.world.node.drain = None
        node.world.join("pump", properties=lasting)
        node.world.join("tap").publish("kept", b"x", retain=True)

    @settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", "12")),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        cache.clear()
        node.do(prepare)
        case.cookies.clear()
        case.headers.pop("Authorization", None)
        if "id" in case.path_parameters and next(turn) % 3:
            case.path_parameters["id"] = pk
        response = case.call(headers={"Authorization": f"Bearer {token}", "Host": "localhost"})
        case.validate_response(response, checks=CHECKS)

    call()


def test_it_covers_the_api() -> None:
    assert len(OPERATIONS) == 38
