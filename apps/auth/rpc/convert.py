"""Between the messages of auth.proto and the values of this program."""

from __future__ import annotations

from apps.auth.acl import Rules
from apps.auth.facts import RuleFacts
from apps.auth.providers.base import Identity
from apps.auth.rpc import auth_pb2 as pb
from apps.gateway.broker.ports import ConnectRequest, Peer


def peer_message(peer: Peer) -> pb.Peer:
    return pb.Peer(
        address=peer.address,
        port=peer.port,
        transport=peer.transport,
        tls_subject=peer.tls_subject,
        tls_common_name=peer.tls_common_name,
    )


def peer_of(message: pb.Peer) -> Peer:
    return Peer(
        message.address, message.port, message.transport, message.tls_subject, message.tls_common_name
    )


def request_message(request: ConnectRequest) -> pb.AuthRequest:
    return pb.AuthRequest(
        client_id=request.client_id,
        level=request.level,
        username=request.username,
        password=request.password,
        clean_start=request.clean_start,
        keepalive=request.keepalive,
        peer=peer_message(request.peer),
    )


def request_of(message: pb.AuthRequest) -> ConnectRequest:
    return ConnectRequest(
        client_id=message.client_id,
        level=message.level,
        username=message.username if message.HasField("username") else None,
        password=message.password if message.HasField("password") else None,
        clean_start=message.clean_start,
        keepalive=message.keepalive,
        peer=peer_of(message.peer),
    )


def subject_message(identity: Identity) -> pb.Subject:
    return pb.Subject(
        client_id=identity.client_id,
        username=identity.username,
        provider=identity.provider.removeprefix("rpc:"),
        groups=identity.groups,
        credential_id=identity.credential_id,
        account=identity.account,
    )


def identity_of(
    subject: pb.Subject,
    peer: pb.Peer,
    provider: str = "",
    claims: Rules | None = None,
    expires_at: float | None = None,
) -> Identity:
    """`provider` "": the one that the subject names."""
    return Identity(
        subject.client_id,
        subject.username,
        peer.tls_common_name,
        peer.address,
        peer.transport,
        provider or subject.provider,
        tuple(subject.groups),
        subject.credential_id if subject.HasField("credential_id") else None,
        claims,
        expires_at,
        subject.account,
    )


def rule_message(rule: RuleFacts) -> pb.Rule:
    return pb.Rule(
        effect=rule.effect, action=rule.action, filter=rule.filter, max_qos=rule.max_qos, retain=rule.retain
    )


def rule_of(message: pb.Rule) -> RuleFacts:
    return RuleFacts(
        0, message.effect, message.action, message.filter, message.max_qos, message.retain, 0, "client", ""
    )
