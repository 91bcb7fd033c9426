"""Topics, subscriptions, and who would receive a message."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apps.cluster import selectors
from apps.cluster.api.base import ClusterView
from apps.cluster.directory import names
from apps.cluster.directory.fields import starts_with
from apps.cluster.models import SubscriptionInfo
from apps.common.api.lists import Flag
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError


class FilterFilter(django_filters.FilterSet):
    filter = django_filters.CharFilter(method="_filter", label="Exactly this one.")
    prefix = django_filters.CharFilter(method="_prefix", label="The filter begins so.")
    node = django_filters.CharFilter()

    def _filter(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(filter=names.topic_key(value))

    def _prefix(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        return rows.filter(starts_with("filter", value))


class TopicOut(serializers.Serializer[Any]):
    filter = serializers.CharField()
    subscribers = serializers.IntegerField()
    nodes = serializers.DictField(child=serializers.IntegerField(), help_text="Subscribers by node.")


class TopicsView(ClusterView):
    filterset_class = FilterFilter
    queryset = SubscriptionInfo.objects.none()  # for the schema
    ordering = ("filter",)
    ordering_fields = ("filter",)

    @extend_schema(
        summary="List topic filters that are subscribed to",
        description="Each once, with its subscribers by node; shared subscriptions count each member.",
        responses=TopicOut(many=True),
    )
    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filter_queryset(selectors.topics(self.actor))) or []
        counts = selectors.subscribers(self.actor, [row["filter"] for row in page])
        found = []
        for row in page:
            nodes = counts.get(row["filter"], {})
            found.append({"filter": row["filter"], "subscribers": sum(nodes.values()), "nodes": nodes})
        return self.get_paginated_response(found)


class SubscriptionOut(serializers.ModelSerializer[SubscriptionInfo]):
    class Meta:
        model = SubscriptionInfo
        fields = (
            *("id", "client_id", "node", "filter", "share", "qos"),
            *("no_local", "retain_as_published", "identifier"),
        )
        read_only_fields = fields


class SubscriptionFilter(FilterFilter):
    client_id = django_filters.CharFilter()
    share = django_filters.CharFilter(label="The name of a share group.")
    shared = Flag(method="_shared", label="Whether it is shared.")
    qos = django_filters.ChoiceFilter(choices=[(qos, qos) for qos in ("0", "1", "2")])

    def _shared(self, rows: QuerySet[Any], name: str, value: bool) -> QuerySet[Any]:
        return rows.exclude(share="") if value else rows.filter(share="")


class SubscriptionsView(ClusterView):
    filterset_class = SubscriptionFilter
    queryset = SubscriptionInfo.objects.none()  # for the schema
    ordering = ("id",)
    ordering_fields = ("id", "client_id", "filter")

    @extend_schema(summary="List subscriptions", responses=SubscriptionOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(selectors.subscriptions(self.actor), SubscriptionOut)


class RecipientFilter(django_filters.FilterSet):
    topic = django_filters.CharFilter(method="_topic", required=True, label="A topic name.")

    def _topic(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        try:
            topics.check_name(value)
        except MqttError as error:
            raise ValidationError({"topic": [error.text]}, "invalid_topic") from None
        return rows.filter(filter__in=selectors.filters_matching(value))


class RecipientsView(ClusterView):
    filterset_class = RecipientFilter
    queryset = SubscriptionInfo.objects.none()  # for the schema
    ordering = ("id",)
    ordering_fields = ("id", "client_id")

    @extend_schema(
        summary="Who would receive a topic",
        description="The subscriptions that it matches. Of each share group one member gets a message.",
        responses=SubscriptionOut(many=True),
    )
    def get(self, request: Request) -> Response:
        return self.listed(selectors.subscriptions(self.actor), SubscriptionOut)
