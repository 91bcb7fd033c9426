"""The auth service decides; what it said of a client is remembered as the database's word would be."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Final

from apps.auth.acl import PASS, Rules
from apps.auth.caches import Cache
from apps.auth.fair_queue import Busy
from apps.auth.providers.base import Identity, Layer, Outcome, Rejection, Unavailable
from apps.auth.rpc import auth_pb2 as pb
from apps.auth.rpc import convert
from apps.auth.rpc.client import RpcClient
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, UNKNOWN, ConnectRequest

if TYPE_CHECKING:
    from apps.auth.providers.parts import Parts
    from gmqtt_platform.config.auth import AuthConf


MAX_TOPICS: Final = 100  # remembered per client
MAX_LENGTH: Final = 512  # characters; the answers for longer topics are not remembered

_Question = tuple[str, str, str, int]  # user name, method, topic or filter, QoS


class RpcClients:
    """Yes is believed for `cache_ttl`, or `cache_grace` while no instance answers; no for `unknown_ttl`."""

    name = "rpc"
    open = False
    needs_database = False
    registered = False

    def __init__(self, client: RpcClient, conf: AuthConf) -> None:
        self._client = client
        self._key = os.urandom(32)
        self._allowed: Cache[str, tuple[bytes, Identity]] = Cache(
            conf.cache_size, conf.cache_ttl, conf.cache_grace * 60
        )
        self._refused: Cache[bytes, Rejection] = Cache(min(conf.cache_size, 10_000), conf.unknown_ttl)
        self._changes = 0

    async def connect(self, request: ConnectRequest) -> Outcome:
        proof = self._proof(request)
        known = _by(self._allowed.get(request.client_id), proof) or self._refused.get(proof)
        if known is not None:
            return known
        changes = self._changes
        try:
            reply = await self._client.call("Auth", convert.request_message(request), pb.AuthReply)
        except Unavailable:
            stale = _by(self._allowed.get_stale(request.client_id), proof)
            if stale is None:
                raise
            return stale
        if reply.decision == pb.PASS:
            return None
        if reply.decision == pb.DENY:
            refused = Rejection(reply.reason, reply.text, reply.guessed)
            if changes == self._changes:
                self._refused.put(proof, refused)
            return refused
        identity = self._identity(request, reply)
        if changes == self._changes:
            self._allowed.put(request.client_id, (proof, identity))
        return identity

    def _identity(self, request: ConnectRequest, reply: pb.AuthReply) -> Identity:
        peer = convert.peer_message(request.peer)
        expires_at = reply.expires_at if reply.HasField("expires_at") else None
        provider = f"{self.name}:{reply.subject.provider}"
        identity = convert.identity_of(reply.subject, peer, provider, None, expires_at)
        if identity.client_id != request.client_id:
            raise Unavailable("the auth service answered for another client")
        if not reply.claims:
            return identity
        rules = Rules([convert.rule_of(rule) for rule in reply.claims], identity.subject)
        return convert.identity_of(reply.subject, peer, provider, rules, expires_at)

    def _proof(self, request: ConnectRequest) -> bytes:
        """A keyed digest of everything that the answer rests on."""
        digest = hashlib.blake2b(key=self._key, digest_size=32)
        peer = request.peer
        for part in (request.client_id, request.username, peer.transport, peer.tls_subject):
            digest.update(b"-" if part is None else b"%d:" % len(part) + part.encode())
        digest.update(b"-" if request.password is None else b"+" + request.password)
        return digest.digest()

    def exchange(self, request: ConnectRequest) -> None:
        return None

    async def judge(self, identity: Identity) -> Rejection | None:
        request = pb.AuthRequest(
            client_id=identity.client_id,
            connected=convert.subject_message(identity),
            peer=_peer(identity),
        )
        reply = await self._client.call("Auth", request, pb.AuthReply)
        return Rejection(reply.reason, reply.text) if reply.decision == pb.DENY else None

    def forget(self, client_ids: list[str] | None) -> None:
        self._changes += 1
        self._refused.clear()
        if client_ids is None:
            self._allowed.clear()
            return
        for client_id in client_ids:
            self._allowed.discard(client_id)


def _by(known: tuple[bytes, Identity] | None, proof: bytes) -> Identity | None:
    if known is None or known[0] != proof:
        return None
    identity = known[1]
    return None if identity.expires_at is not None and identity.expires_at <= time.time() else identity


class RpcAcl:
    """Asks for each topic and filter, and remembers the answers as `RpcClients` does.

    Who was not answered is in `unanswered`, to be given another chance when the service is back.
    """

    name = "rpc"
    open = False
    needs_database = False
    asks = True
    brought = False

    def __init__(self, client: RpcClient, conf: AuthConf) -> None:
        self._client = client
        self._known: Cache[str, dict[_Question, pb.AclReply]] = Cache(
            conf.cache_size, conf.cache_ttl, conf.cache_grace * 60
        )
        self.unanswered: set[str] = set()

    async def layer(self, identity: Identity) -> Layer | None:
        return _Asking(self, identity)

    async def ask(self, identity: Identity, method: str, topic: str, qos: int) -> pb.AclReply:
        """`Unavailable` or `Busy` where there is neither an answer nor one that is remembered."""
        question = (identity.username, method, topic, qos)
        known = self._known.get(identity.client_id)
        if known is not None and question in known:
            return known[question]
        try:
            reply: pb.AclReply = await self._client.call(
                method, _request(identity, method, topic, qos), pb.AclReply
            )
        except (Unavailable, Busy):
            stale = self._known.get_stale(identity.client_id)
            if stale is not None and question in stale:
                return stale[question]
            self.unanswered.add(identity.client_id)
            raise
        known = self._known.get(identity.client_id)
        if len(topic) > MAX_LENGTH:
            return reply
        if known is None or len(known) >= MAX_TOPICS:
            known = {}
            self._known.put(identity.client_id, known)
        known[question] = reply
        return reply

    def take_unanswered(self) -> set[str]:
        found, self.unanswered = self.unanswered, set()
        return found

    def forget(self, client_ids: list[str] | None) -> None:
        if client_ids is None:
            self._known.clear()
            return
        for client_id in client_ids:
            self._known.discard(client_id)


def _request(identity: Identity, method: str, topic: str, qos: int) -> pb.PubAuthRequest | pb.SubAuthRequest:
    subject = convert.subject_message(identity)
    peer = _peer(identity)
    if method == "PubAuth":
        return pb.PubAuthRequest(subject=subject, peer=peer, topic=topic)
    return pb.SubAuthRequest(subject=subject, peer=peer, filter=topic, qos=qos)


def _peer(identity: Identity) -> pb.Peer:
    return pb.Peer(address=identity.address, transport=identity.transport, tls_common_name=identity.cert_cn)


class _Asking:
    def __init__(self, acl: RpcAcl, identity: Identity) -> None:
        self._acl = acl
        self._identity = identity

    def publish(self, topic: str) -> int:
        return UNKNOWN

    def subscribe(self, filter: str, qos: int) -> int:
        return UNKNOWN

    async def ask_publish(self, topic: str) -> int:
        reply = await self._acl.ask(self._identity, "PubAuth", topic, 0)
        if reply.decision == pb.PASS:
            return PASS
        return int(reply.grant) & PUBLISH_ALL if reply.decision == pb.ALLOW else NOTHING

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        reply = await self._acl.ask(self._identity, "SubAuth", filter, qos)
        if reply.decision == pb.PASS:
            return PASS
        return min(int(reply.grant), qos) if reply.decision == pb.ALLOW else DENIED


def build_clients(parts: Parts) -> RpcClients:
    provider = RpcClients(parts.rpc, parts.conf)
    parts.on_forget.append(provider.forget)
    return provider


def build_acl(parts: Parts) -> RpcAcl:
    provider = RpcAcl(parts.rpc, parts.conf)
    parts.on_forget.append(provider.forget)
    parts.unanswered.append(provider.take_unanswered)
    return provider
