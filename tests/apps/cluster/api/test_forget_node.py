"""A node that is gone for good leaves the list; one that lives never does."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from apps.cluster import services
from apps.cluster.models import ClusterNode, SessionInfo
from tests.apps.cluster.factories import NodeFactory, SessionFactory
from tests.apps.cluster.support.running import RunningNode

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "PATIENCE", 0.1)


def forget(api: APIClient, node: ClusterNode) -> int:
    return int(api.delete(f"/api/v1/cluster/nodes/{node.pk}/").status_code)


@pytest.mark.parametrize(
    ("state", "age", "status"), [("down", 1, 204), ("up", 120, 204), ("draining", 120, 204), ("up", 30, 409)]
)
def test_by_what_its_row_says(api: APIClient, state: str, age: int, status: int) -> None:
    node = NodeFactory(name="gone", state=state, seen_at=timezone.now() - timedelta(seconds=age))
    SessionFactory(client_id="pump", node="gone")
    assert forget(api, node) == status
    assert ClusterNode.objects.exists() is SessionInfo.objects.exists() is (status == 409)


@pytest.mark.parametrize("state", ["up", "down"])
def test_one_that_answers_is_alive_whatever_its_row_says(
    api: APIClient, node: RunningNode, state: str
) -> None:
    row = NodeFactory(name="test", state=state, seen_at=timezone.now() - timedelta(days=1))
    assert forget(api, row) == 409
    assert ClusterNode.objects.filter(name="test").exists()
