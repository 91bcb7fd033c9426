"""May a client connect, publish, subscribe? What the auth service answers by gRPC, over HTTP; and why."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.auth import decisions, permissions, selectors
from apps.auth.acl import PASS, Subject
from apps.auth.facts import TRANSPORTS, RuleFacts
from apps.auth.providers.base import Identity, Unavailable
from apps.auth.providers.decision import ClientAcl
from apps.common.api.base import ApiView, Strict
from apps.common.api.fields import Text
from apps.common.api.problems import Problem
from apps.gateway.broker.ports import (
    DENIED,
    NOTHING,
    QOS_0,
    QOS_1,
    QOS_2,
    RETAIN,
    ConnectRequest,
    Peer,
    Verdict,
)
from apps.gateway.mqtt import reasons, topics
from apps.gateway.mqtt.errors import MqttError

DECISIONS = ("allow", "deny", "pass")  # pass: no provider knows


class PeerIn(Strict):
    client_id = Text(65_535)
    username = Text(65_535, required=False, allow_null=True, allow_blank=True, default=None)
    address = serializers.IPAddressField(required=False, default="", help_text="The client's.")
    transport = serializers.ChoiceField(list(TRANSPORTS), default="tcp")
    tls_subject = Text(4096, required=False, allow_blank=True, default="", help_text="RFC 4514 name.")
    tls_common_name = Text(1024, required=False, allow_blank=True, default="")


class ConnectIn(PeerIn):
    password = serializers.CharField(
        required=False,
        allow_null=True,
        allow_blank=True,
        default=None,
        trim_whitespace=False,
        max_length=65_535,
        write_only=True,
    )
    level = serializers.ChoiceField([3, 4, 5], default=5, help_text="3: MQTT 3.1, 4: 3.1.1, 5: 5.0.")


class ConnectOut(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(DECISIONS)
    reason_code = serializers.IntegerField(help_text="As in CONNACK of MQTT 5.0.")
    reason = serializers.CharField()
    username = serializers.CharField(allow_null=True, help_text="Who the client turned out to be.")
    groups = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.FloatField(allow_null=True, help_text="UNIX seconds.")


class PublishIn(PeerIn):
    topic = serializers.CharField(max_length=65_535, trim_whitespace=False)
    qos = serializers.IntegerField(min_value=0, max_value=2, default=0)
    retain = serializers.BooleanField(default=False)

    def validate_topic(self, topic: str) -> str:
        return _checked(topics.check_name, topic)


class PublishOut(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(DECISIONS)
    max_qos = serializers.IntegerField(allow_null=True, help_text="The highest that is allowed; null: none.")
    retain = serializers.BooleanField(help_text="Whether the message may be retained.")


class SubscribeIn(PeerIn):
    filter = serializers.CharField(
        max_length=65_535, trim_whitespace=False, help_text="With or without $share/group/."
    )
    qos = serializers.IntegerField(min_value=0, max_value=2, default=0)

    def validate_filter(self, filter: str) -> str:
        return _filter(filter)


class SubscribeOut(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(DECISIONS)
    qos = serializers.IntegerField(allow_null=True, help_text="What is granted; null: nothing.")


class ExplainIn(Strict):
    client_id = Text(help_text="Of a registered client, connected or not.")
    action = serializers.ChoiceField(["publish", "subscribe"])
    topic = serializers.CharField(max_length=65_535, trim_whitespace=False, help_text="A name, or a filter.")
    qos = serializers.IntegerField(min_value=0, max_value=2, default=0)
    username = Text(
        required=False, allow_blank=True, default="", help_text="Left out: that of its credential."
    )
    tls_common_name = Text(1024, required=False, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        try:
            if attrs["action"] == "publish":
                _checked(topics.check_name, attrs["topic"])
            else:
                attrs["topic"] = _filter(attrs["topic"])
        except serializers.ValidationError as error:
            raise serializers.ValidationError({"topic": error.detail}) from None
        return attrs


class ExplainedRule(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    effect = serializers.CharField()
    action = serializers.CharField()
    filter = serializers.CharField()
    scope = serializers.CharField(help_text="client, group or everyone")
    group = serializers.CharField()
    priority = serializers.IntegerField()


class PassedRule(ExplainedRule):
    why = serializers.CharField()


class ExplainOut(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(DECISIONS[:2])
    max_qos = serializers.IntegerField(allow_null=True, help_text="Publish: allowed; subscribe: granted.")
    retain = serializers.BooleanField(help_text="Whether a message may be retained.")
    rule = ExplainedRule(allow_null=True, help_text="That decided; null: none matched, the default holds.")
    passed_over = PassedRule(many=True, help_text="The rules asked before it.")


class ConnectView(ApiView):
    throttle_scope = "decide"

    @extend_schema(summary="May this client connect?", request=ConnectIn, responses=ConnectOut)
    def post(self, request: Request) -> Response:
        given = self.given(ConnectIn)
        password = given["password"]
        verdict = _waited(
            decisions.connect,
            ConnectRequest(
                client_id=given["client_id"],
                level=given["level"],
                username=given["username"],
                password=password.encode() if password is not None else None,
                clean_start=True,
                keepalive=60,
                peer=_peer(given),
            ),
        )
        return Response(_connect_answer(verdict))


class PublishView(ApiView):
    throttle_scope = "decide"

    @extend_schema(
        summary="May this client publish to a topic?",
        description="By the rules alone: whether it may connect is another question.",
        request=PublishIn,
        responses=PublishOut,
    )
    def post(self, request: Request) -> Response:
        given = self.given(PublishIn)
        answer = _waited(_publish, _identity(given), given["topic"])
        needed = (QOS_0, QOS_1, QOS_2)[given["qos"]] | (RETAIN if given["retain"] else 0)
        return Response(_publish_answer(answer, needed))


class SubscribeView(ApiView):
    throttle_scope = "decide"

    @extend_schema(
        summary="May this client subscribe to a filter?",
        description="By the rules alone: whether it may connect is another question.",
        request=SubscribeIn,
        responses=SubscribeOut,
    )
    def post(self, request: Request) -> Response:
        given = self.given(SubscribeIn)
        granted = _waited(_subscribe, _identity(given), given["filter"], given["qos"])
        decision = {PASS: "pass", DENIED: "deny"}.get(granted, "allow")
        return Response({"decision": decision, "qos": granted if granted >= 0 else None})


class ExplainView(ApiView):
    @extend_schema(
        summary="Which rule decides?",
        description="And which were passed over, and why. By the rules in the database.",
        request=ExplainIn,
        responses=ExplainOut,
    )
    def post(self, request: Request) -> Response:
        given = self.given(ExplainIn)
        client = (
            selectors.clients(self.actor, permissions.VIEW_RULE).filter(client_id=given["client_id"]).first()
        )
        if client is None:
            raise serializers.ValidationError({"client_id": ["There is no such client."]}, "unknown_client")
        username = given["username"] or selectors.username_of(client)
        subject = Subject(client.client_id, username, given["tls_common_name"])
        action = given["action"]
        explained = decisions.explain(subject, action, given["topic"], given["qos"])
        answer = explained.answer
        if answer == PASS:
            allowed = settings.GMQTT.auth.acl_default == "allow"
            grant = {"max_qos": 2 if allowed else None, "retain": allowed and action == "publish"}
            decision = "allow" if allowed else "deny"
        elif action == "publish":
            grant = {"max_qos": _highest(answer), "retain": bool(answer & RETAIN)}
            needed = (QOS_0, QOS_1, QOS_2)[given["qos"]]
            decision = "allow" if answer & needed else "deny"
        else:
            grant = {"max_qos": answer if answer != DENIED else None, "retain": False}
            decision = "deny" if answer == DENIED else "allow"
        passed = [{**_rule(rule), "why": why} for rule, why in explained.passed]
        rule = _rule(explained.rule) if explained.rule else None
        return Response({"decision": decision, **grant, "rule": rule, "passed_over": passed})


def _waited(function: Any, *args: Any) -> Any:
    try:
        return async_to_sync(function)(*args)
    except Unavailable:
        raise Problem(503, "unavailable", "The database does not answer.") from None


def _checked(check: Any, topic: str) -> str:
    try:
        check(topic)
    except MqttError as error:
        raise serializers.ValidationError(str(error), "invalid_topic") from None
    return topic


def _filter(filter: str) -> str:
    """Without its $share/group/, as rules are asked."""
    try:
        _, bare = topics.split_share(filter)
    except MqttError as error:
        raise serializers.ValidationError(str(error), "invalid_topic") from None
    return _checked(topics.check_filter, bare)


def _peer(given: dict[str, Any]) -> Peer:
    return Peer(given["address"], 0, given["transport"], given["tls_subject"], given["tls_common_name"])


def _identity(given: dict[str, Any]) -> Identity:
    return Identity(
        client_id=given["client_id"],
        username=given["username"] or "",
        cert_cn=given["tls_common_name"],
        address=given["address"],
        transport=given["transport"],
        provider="django",
    )


async def _publish(identity: Identity, topic: str) -> int:
    return await (await decisions.acl(identity)).ask_publish(topic)


async def _subscribe(identity: Identity, filter: str, qos: int) -> int:
    return await (await decisions.acl(identity)).ask_subscribe(filter, qos)


def _connect_answer(verdict: Verdict | None) -> dict[str, Any]:
    if verdict is None:
        return _answer("pass", reasons.NOT_AUTHORIZED, "no provider knows the client")
    if verdict.reason in (reasons.SERVER_UNAVAILABLE, reasons.SERVER_BUSY):
        raise Problem(503, "unavailable", reasons.name(verdict.reason))
    if not isinstance(verdict.acl, ClientAcl):
        return _answer("deny", verdict.reason, verdict.reason_string or reasons.name(verdict.reason))
    identity = verdict.acl.identity
    return _answer("allow", 0, "") | {
        "username": identity.username,
        "groups": list(identity.groups),
        "expires_at": verdict.expires_at,
    }


def _answer(decision: str, code: int, reason: str) -> dict[str, Any]:
    return {
        "decision": decision,
        "reason_code": code,
        "reason": reason,
        "username": None,
        "groups": [],
        "expires_at": None,
    }


def _publish_answer(answer: int, needed: int) -> dict[str, Any]:
    if answer == PASS:
        return {"decision": "pass", "max_qos": None, "retain": False}
    allowed = answer & needed == needed and answer != NOTHING
    return {
        "decision": "allow" if allowed else "deny",
        "max_qos": _highest(answer),
        "retain": bool(answer & RETAIN),
    }


def _highest(answer: int) -> int | None:
    return next((qos for qos, bit in ((2, QOS_2), (1, QOS_1), (0, QOS_0)) if answer & bit), None)


def _rule(rule: RuleFacts) -> dict[str, Any]:
    return {
        name: getattr(rule, name)
        for name in ("id", "effect", "action", "filter", "scope", "group", "priority")
    }
