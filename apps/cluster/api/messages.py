"""Publish, retained messages, dropped messages."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import django_filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.fields import empty
from rest_framework.request import Request
from rest_framework.response import Response

from apps.cluster import selectors, services
from apps.cluster.api.base import ClusterView, NodePage, Paged, Topic, next_page
from apps.cluster.api.sessions import MessageOut
from apps.cluster.directory import names
from apps.cluster.models import Drop
from apps.common.api.base import Strict
from apps.gateway.mqtt import topics
from apps.gateway.mqtt.errors import MqttError


class Base64(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_blank=True, trim_whitespace=False, **kwargs)

    def run_validation(self, data: Any = empty) -> Any:
        return b"" if data == "" else super().run_validation(data)

    def to_internal_value(self, data: Any) -> Any:
        text = super().to_internal_value(data)
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise ValidationError("Not base64.", "invalid_base64") from None


class PropertiesIn(Strict):
    content_type = serializers.CharField(required=False, max_length=1024)
    response_topic = Topic(required=False)
    correlation_data = Base64(required=False, max_length=65_536, help_text="base64")
    user_properties = serializers.ListField(
        child=serializers.ListField(
            child=serializers.CharField(allow_blank=True, trim_whitespace=False, max_length=65_535),
            min_length=2,
            max_length=2,
        ),
        required=False,
        max_length=100,
        help_text="Pairs of name and value.",
    )
    payload_is_text = serializers.BooleanField(required=False)
    message_expiry = serializers.IntegerField(required=False, min_value=0, max_value=2**32 - 1)


class MessageIn(Strict):
    topic = Topic()
    payload = serializers.CharField(
        required=False, allow_blank=True, trim_whitespace=False, help_text="Text, as UTF-8."
    )
    payload_base64 = Base64(required=False, help_text="Bytes; in place of payload.")
    qos = serializers.IntegerField(min_value=0, max_value=2, default=0)
    retain = serializers.BooleanField(default=False)
    properties = PropertiesIn(required=False, help_text="Of MQTT 5.0.")

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        if "payload" in given and "payload_base64" in given:
            raise ValidationError({"payload": ["Either payload or payload_base64."]}, "two_payloads")
        return given


class PublishedOut(serializers.Serializer[Any]):
    subscribed = serializers.BooleanField(help_text="Whether anybody is.")
    recipients = serializers.IntegerField(help_text="Sessions and share groups on the node that published.")
    elsewhere = serializers.BooleanField(help_text="Whether other nodes or back-end services want it.")


class PublishView(ClusterView):
    max_body = 2 << 20

    @extend_schema(
        summary="Publish a message",
        description="Answers when it is as durable as its QoS promises. 507: there was no room for it.",
        request=MessageIn,
        responses=PublishedOut,
    )
    def post(self, request: Request) -> Response:
        given = self.given(MessageIn)
        payload = given.pop("payload_base64", None)
        text = given.pop("payload", "")
        properties = dict(given.pop("properties", {}))
        if "correlation_data" in properties:
            properties["correlation_data"] = base64.b64encode(properties["correlation_data"]).decode()
        body = payload if payload is not None else text.encode("utf-8", "surrogatepass")
        return Response(services.publish(self.actor, payload=body, properties=properties, **given))


class RetainedOut(NodePage):
    results = MessageOut(many=True)
    left_out = serializers.IntegerField(help_text="Messages on topics that are too long to be listed.")


class RetainedAsk(Paged):
    filter = Topic(default="#")
    payload = serializers.BooleanField(default=False)

    def validate_filter(self, value: str) -> str:
        try:
            topics.check_filter(value)
        except MqttError as error:
            raise ValidationError(error.text, "invalid_topic_filter") from None
        return value


class RetainedView(ClusterView):
    @extend_schema(
        summary="List retained messages by filter",
        description="As a node has them now. payload=true shows payloads to those who may see them.",
        parameters=[RetainedAsk],
        responses=RetainedOut,
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(RetainedAsk)
        page = services.retained(
            self.actor, asked["filter"], asked["cursor"], asked["page_size"], asked["payload"]
        )
        return Response(
            {
                "next": next_page(request, page["next"]),
                "previous": None,
                "results": page["messages"],
                "left_out": page["left_out"],
            }
        )


class OneTopic(Strict):
    topic = Topic()


class RetainedMessageView(ClusterView):
    @extend_schema(
        summary="The retained message of a topic",
        description="With up to 32 KiB of its payload, for those who may see it.",
        parameters=[OneTopic],
        responses=MessageOut,
    )
    def get(self, request: Request) -> Response:
        return Response(services.retained_message(self.actor, self.asked(OneTopic)["topic"]))

    @extend_schema(
        summary="Delete the retained message of a topic", parameters=[OneTopic], responses={204: None}
    )
    def delete(self, request: Request) -> Response:
        services.delete_retained(self.actor, self.asked(OneTopic)["topic"])
        return Response(status=204)


class DropOut(serializers.ModelSerializer[Drop]):
    class Meta:
        model = Drop
        fields = ("id", "node", "reason", "direction", "client_id", "topic", "count", "first", "last")
        read_only_fields = fields


class DropFilter(django_filters.FilterSet):
    reason = django_filters.CharFilter()
    direction = django_filters.ChoiceFilter(choices=Drop.Direction.choices)
    client_id = django_filters.CharFilter()
    topic = django_filters.CharFilter(method="_topic")
    node = django_filters.CharFilter()
    after = django_filters.IsoDateTimeFilter("last", "gte")
    before = django_filters.IsoDateTimeFilter("last", "lt")

    def _topic(self, rows: Any, name: str, value: str) -> Any:
        return rows.filter(topic=names.topic_key(value))


class DropsView(ClusterView):
    filterset_class = DropFilter
    queryset = Drop.objects.none()  # for the schema

    @extend_schema(
        summary="List dropped messages",
        description="Counted by reason, direction, topic, client, node and hour. The oldest make room.",
        responses=DropOut(many=True),
    )
    def get(self, request: Request) -> Response:
        return self.listed(selectors.drops(self.actor), DropOut)
