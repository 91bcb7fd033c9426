"""Clients that are connected, sessions, and what can be done to them."""

from __future__ import annotations

from typing import Any

import django_filters
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from apps.cluster import permissions, selectors, services
from apps.cluster.api.base import ClusterView, Topic
from apps.cluster.directory.fields import starts_with
from apps.cluster.models import SessionInfo
from apps.cluster.node_rpc import NodeRpcError, rpc
from apps.common.api.base import Strict, found
from apps.common.api.fields import Text
from apps.common.api.lists import Flag

_FIELDS = (
    *("id", "client_id", "node", "online", "username", "address", "port", "transport", "level"),
    *("clean_start", "keepalive", "created_at", "connected_at", "disconnected_at", "reason_code", "reason"),
    *("expiry_interval", "expires_at", "subscriptions", "inflight", "queued", "queued_bytes"),
)


class SessionOut(serializers.ModelSerializer[SessionInfo]):
    class Meta:
        model = SessionInfo
        fields = _FIELDS
        read_only_fields = fields


class SessionDetailOut(SessionOut):
    live = serializers.DictField(allow_null=True, help_text="What its node says now; null: see `missing`.")
    missing = serializers.CharField(help_text="Why the node did not answer; empty: it did.", allow_blank=True)

    class Meta:
        model = SessionInfo
        fields = (*_FIELDS, "live", "missing")
        read_only_fields = fields


class ClientFilter(django_filters.FilterSet):
    client_id = django_filters.CharFilter()
    prefix = django_filters.CharFilter(method="_prefix", label="The client id begins so.")
    node = django_filters.CharFilter()
    username = django_filters.CharFilter()
    address = django_filters.CharFilter()
    transport = django_filters.ChoiceFilter(choices=[(name, name) for name in ("tcp", "tls", "ws", "wss")])
    level = django_filters.ChoiceFilter(
        choices=[(level, level) for level in ("3", "4", "5")], label="Protocol level: 3, 4 or 5."
    )
    connected_after = django_filters.IsoDateTimeFilter("connected_at", "gte")
    connected_before = django_filters.IsoDateTimeFilter("connected_at", "lt")

    def _prefix(self, rows: QuerySet[SessionInfo], name: str, value: str) -> QuerySet[SessionInfo]:
        return rows.filter(starts_with("client_id", value))


class SessionFilter(ClientFilter):
    online = Flag()
    queued = Flag(method="_queued", label="Whether messages wait for it.")
    expires_before = django_filters.IsoDateTimeFilter("expires_at", "lt")

    def _queued(self, rows: QuerySet[SessionInfo], name: str, value: bool) -> QuerySet[SessionInfo]:
        return rows.filter(queued__gt=0) if value else rows.filter(queued=0)


class SessionsView(ClusterView):
    filterset_class: type[ClientFilter] = SessionFilter
    queryset = SessionInfo.objects.none()  # for the schema
    ordering = ("client_id",)
    ordering_fields = ("client_id", "queued")

    @extend_schema(summary="List sessions, online and offline", responses=SessionOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(selectors.sessions(self.actor), SessionOut)


class ClientsView(ClusterView):
    filterset_class = ClientFilter
    queryset = SessionInfo.objects.none()  # for the schema
    ordering = ("client_id",)
    ordering_fields = ("client_id",)

    @extend_schema(summary="List clients that are connected", responses=SessionOut(many=True))
    def get(self, request: Request) -> Response:
        return self.listed(selectors.clients(self.actor), SessionOut)


class OneSession(ClusterView):
    """A session among those that the caller may do this to."""

    def one(self, pk: int) -> SessionInfo:
        return found(selectors.sessions(self.actor, self.permission), selectors.sessions(self.actor), pk)


class SessionView(OneSession):
    @extend_schema(summary="One session, with live counters", responses=SessionDetailOut)
    def get(self, request: Request, pk: int) -> Response:
        session = self.one(pk)
        live, missing = None, ""
        try:
            live = rpc.call(selectors.node_of(session), "session", client_id=session.client_id)
        except NodeRpcError as error:
            missing = error.detail
        return Response(SessionOut(session).data | {"live": live, "missing": missing})

    @extend_schema(
        summary="End a session",
        description="Its connection, its subscriptions and what waits for the client go.",
        responses={204: None},
    )
    def delete(self, request: Request, pk: int) -> Response:
        services.end_session(self.actor, self.one(pk))
        return Response(status=204)


class KickIn(Strict):
    text = Text(required=False, allow_blank=True, default="", help_text="Told to 5.0 clients.")


class KickOut(serializers.Serializer[Any]):
    was_online = serializers.BooleanField()


class KickView(OneSession):
    @extend_schema(
        summary="Disconnect a client",
        description="It may come back; its session stays as long as it would.",
        request=KickIn,
        responses=KickOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        return Response(services.kick(self.actor, self.one(pk), **self.given(KickIn)))


class SubscriptionIn(Strict):
    filter = Topic(help_text="$share/NAME/FILTER for a shared subscription.")
    qos = serializers.IntegerField(min_value=0, max_value=2, default=0)
    no_local = serializers.BooleanField(default=False)
    retain_as_published = serializers.BooleanField(default=False)
    retain_handling = serializers.IntegerField(min_value=0, max_value=2, default=0)


class GrantedOut(serializers.Serializer[Any]):
    qos = serializers.IntegerField(help_text="What was granted.")


class SubscribeView(OneSession):
    @extend_schema(
        summary="Subscribe a client",
        description="As if it had asked for it itself: its access rules decide.",
        request=SubscriptionIn,
        responses=GrantedOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        return Response(services.subscribe(self.actor, self.one(pk), **self.given(SubscriptionIn)))


class UnsubscriptionIn(Strict):
    filter = Topic()


class UnsubscribedOut(serializers.Serializer[Any]):
    existed = serializers.BooleanField()


class UnsubscribeView(OneSession):
    @extend_schema(summary="Unsubscribe a client", request=UnsubscriptionIn, responses=UnsubscribedOut)
    def post(self, request: Request, pk: int) -> Response:
        return Response(services.unsubscribe(self.actor, self.one(pk), **self.given(UnsubscriptionIn)))


class MessageOut(serializers.Serializer[Any]):
    topic = serializers.CharField()
    qos = serializers.IntegerField()
    retain = serializers.BooleanField()
    size = serializers.IntegerField(help_text="Bytes of the payload.")
    publisher = serializers.CharField(allow_blank=True, help_text="A client id; empty: the platform.")
    expires_in = serializers.FloatField(allow_null=True, help_text="Seconds.")
    payload = serializers.CharField(
        allow_null=True, help_text="Its beginning, base64; null: not asked for, or not for you."
    )


class QueuedOut(MessageOut):
    age = serializers.FloatField(allow_null=True, help_text="Seconds in the queue.")


class QueueOut(serializers.Serializer[Any]):
    messages = QueuedOut(many=True)
    queued = serializers.IntegerField()
    queued_bytes = serializers.IntegerField()


class QueueAsk(Strict):
    limit = serializers.IntegerField(min_value=1, max_value=100, default=100)
    payload = serializers.BooleanField(default=False)


class QueueView(OneSession):
    @extend_schema(
        summary="Look into a queue",
        description="The first messages that wait. With payload=true, payloads for those who may see them.",
        parameters=[QueueAsk],
        responses=QueueOut,
    )
    def get(self, request: Request, pk: int) -> Response:
        asked = self.asked(QueueAsk)
        session = self.one(pk)
        return Response(services.look_into_queue(self.actor, session, asked["limit"], asked["payload"]))


class PurgeOut(serializers.Serializer[Any]):
    purged = serializers.IntegerField()


class PurgeView(OneSession):
    @extend_schema(
        summary="Empty a queue",
        description="What is in flight stays. Counted as drops, reason purged.",
        request=None,
        responses=PurgeOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        return Response(services.purge_queue(self.actor, self.one(pk)))


class ReplayIn(Strict):
    to = Text(help_text="The client id that gets copies.")
    limit = serializers.IntegerField(min_value=1, max_value=10_000, default=1000)


class ReplayOut(serializers.Serializer[Any]):
    replayed = serializers.IntegerField()


class ReplayView(OneSession):
    @extend_schema(
        summary="Replay a queue to another client",
        description="Copies of the first messages that wait. What no cluster keeps stays on its node.",
        request=ReplayIn,
        responses=ReplayOut,
    )
    def post(self, request: Request, pk: int) -> Response:
        session = self.one(pk)
        given = self.given(ReplayIn)
        to = selectors.sessions(self.actor, permissions.PURGE_QUEUE).filter(client_id=given["to"]).first()
        if to is None:
            raise ValidationError({"to": ["There is no such session that you may change."]}, "unknown_client")
        return Response(services.replay_queue(self.actor, session, to, given["limit"]))
