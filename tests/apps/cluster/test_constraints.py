"""What the database itself keeps true of the directory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import IntegrityError, models, transaction

from apps.cluster.directory.fields import starts_with
from apps.cluster.models import ClusterNode, Drop, ExportRule, SessionInfo, SubscriptionInfo

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(client_id: str, **more: Any) -> SessionInfo:
    return SessionInfo.objects.create(client_id=client_id, online=True, level=5, created_at=NOW, **more)


def refused(model: type[models.Model], **columns: Any) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        model._default_manager.create(**columns)


def test_client_ids_differ_by_case() -> None:
    session("pump")
    session("Pump")
    assert SessionInfo.objects.get(client_id="Pump").client_id == "Pump"
    refused(SessionInfo, client_id="pump", online=False, level=4, created_at=NOW)
    refused(SessionInfo, client_id="", online=False, level=4, created_at=NOW)


def test_a_prefix_means_itself() -> None:
    for client_id in ("pump-1", "Pump-2", "pump_3", "pump%4", "pum", "pump", "puq", "pumpé"):
        session(client_id)
    found = SessionInfo.objects.filter(starts_with("client_id", "pump"))
    assert [each.client_id for each in found] == ["pump", "pump%4", "pump-1", "pump_3", "pumpé"]
    assert not SessionInfo.objects.filter(starts_with("client_id", "pump%1")).exists()


def test_order_is_by_code_point() -> None:
    for client_id in ("b", "a", "B", "A", "é", "_", "-"):
        session(client_id)
    assert [each.client_id for each in SessionInfo.objects.all()] == sorted("baBAé_-")


def test_a_client_subscribes_once_to_a_filter() -> None:
    columns = {"client_id": "pump", "filter": "a/+", "shape": ".+", "qos": 1}
    SubscriptionInfo.objects.create(**columns)
    SubscriptionInfo.objects.create(**columns, share="workers")
    refused(SubscriptionInfo, **columns)
    refused(SubscriptionInfo, **{**columns, "filter": "b", "qos": 3})


def test_drops_of_one_kind_are_one_row() -> None:
    columns: dict[str, Any] = {"bucket": NOW, "node": "n", "reason": "queue_full", "direction": "out"}
    counted = {"count": 1, "first": NOW, "last": NOW}
    Drop.objects.create(**columns, **counted, client_id="pump", topic="t")
    refused(Drop, **columns, **counted, client_id="pump", topic="t")
    refused(Drop, **{**columns, "direction": "up"}, **counted, client_id="pump", topic="u")


def test_nodes_and_rules_are_named_once() -> None:
    ClusterNode.objects.create(name="a", incarnation="1", started_at=NOW, seen_at=NOW)
    refused(ClusterNode, name="a", incarnation="2", started_at=NOW, seen_at=NOW)
    refused(ClusterNode, name="b", incarnation="2", started_at=NOW, seen_at=NOW, state="sideways")
    ExportRule.objects.create(filter="a/#", kafka_topic="a")
    refused(ExportRule, filter="a/#", kafka_topic="a")
