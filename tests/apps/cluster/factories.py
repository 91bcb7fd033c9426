from __future__ import annotations

from datetime import UTC, datetime

import factory

from apps.cluster.directory import names
from apps.cluster.models import ClusterNode, Drop, SessionInfo, SubscriptionInfo

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class NodeFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ClusterNode

    name = factory.Sequence("node-{}".format)
    incarnation = "1"
    started_at = NOW
    seen_at = NOW


class SessionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = SessionInfo

    client_id = factory.Sequence("client-{:04d}".format)
    node = "test"
    online = True
    level = 5
    transport = "tcp"
    address = "192.0.2.1"
    created_at = NOW
    connected_at = NOW


class SubscriptionFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = SubscriptionInfo

    client_id = factory.Sequence("client-{:04d}".format)
    node = "test"
    filter = factory.Sequence("topic/{}".format)
    shape = factory.LazyAttribute(lambda row: names.shape(row.filter))
    qos = 1


class DropFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Drop

    bucket = NOW
    node = "test"
    reason = "queue_full"
    direction = "out"
    client_id = factory.Sequence("client-{:04d}".format)
    topic = "a"
    count = 1
    first = NOW
    last = NOW
