"""The auth service: auth.proto's methods, decided by a `Chain` of its own."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import grpc
from django.core.exceptions import PermissionDenied, ValidationError
from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from apps.auth import callers
from apps.auth.acl import PASS
from apps.auth.callers import Overloaded
from apps.auth.facts import TRANSPORTS
from apps.auth.models import Client
from apps.auth.providers.base import Unavailable
from apps.auth.providers.chain import Chain
from apps.auth.providers.decision import ClientAcl
from apps.auth.rpc import auth_pb2 as pb
from apps.auth.rpc import auth_pb2_grpc, convert
from apps.auth.rpc.access import SERVICE, Access
from apps.auth.rpc.counting import Counting
from apps.auth.rpc.tls import ServerCertificate
from apps.auth.services import clients, registering
from apps.common.actors import Actor
from apps.common.errors import Duplicate, Gone
from apps.gateway.broker.ports import DENIED, NOTHING
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import ServiceConf

logger = logging.getLogger(__name__)

T = TypeVar("T")

MAX_MESSAGE: Final = 1_048_576  # bytes
BUSY: Final = "more calls wait than can be answered in time"
MAX_CALLS: Final = 2000  # at once; behind them RESOURCE_EXHAUSTED


class AuthService(auth_pb2_grpc.AuthServicer):
    def __init__(self, chain: Chain, access: Access) -> None:
        self._chain = chain
        self._access = access

    async def Auth(self, request: pb.AuthRequest, context: Any) -> pb.AuthReply:
        if request.HasField("connected"):
            return await self._judge(request, context)
        connect = convert.request_of(request)
        verdict = await self._chain.decide(connect)
        if verdict is None:
            return pb.AuthReply(decision=pb.PASS)
        if verdict.reason == reasons.SERVER_UNAVAILABLE:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the database does not answer")
        if verdict.reason == reasons.SERVER_BUSY:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, BUSY)
        if not isinstance(verdict.acl, ClientAcl):
            guessed = verdict.reason == reasons.BAD_USER_NAME_OR_PASSWORD
            return pb.AuthReply(
                decision=pb.DENY, reason=verdict.reason, text=verdict.reason_string, guessed=guessed
            )
        identity = verdict.acl.identity
        claims = identity.claims.rules if identity.claims is not None else ()
        return pb.AuthReply(
            decision=pb.ALLOW,
            subject=convert.subject_message(identity),
            expires_at=identity.expires_at,
            claims=[convert.rule_message(rule) for rule in claims],
        )

    async def _judge(self, request: pb.AuthRequest, context: Any) -> pb.AuthReply:
        identity = convert.identity_of(request.connected, request.peer)
        self._chain.forget(
            [identity.client_id, identity.row]
        )  # whoever asks this has heard of a change, perhaps before us
        with callers.asking():
            refused = await _available(self._chain.judge(identity), context)
        if refused is None:
            return pb.AuthReply(decision=pb.ALLOW, subject=request.connected)
        return pb.AuthReply(decision=pb.DENY, reason=refused.reason, text=refused.text)

    async def PubAuth(self, request: pb.PubAuthRequest, context: Any) -> pb.AclReply:
        acl = await self._acl(request.subject, request.peer, context)
        grant = await acl.ask_publish(request.topic)
        if grant == PASS:
            return pb.AclReply(decision=pb.PASS)
        return pb.AclReply(decision=pb.DENY if grant == NOTHING else pb.ALLOW, grant=grant)

    async def SubAuth(self, request: pb.SubAuthRequest, context: Any) -> pb.AclReply:
        acl = await self._acl(request.subject, request.peer, context)
        granted = await acl.ask_subscribe(request.filter, min(request.qos, 2))
        if granted == PASS:
            return pb.AclReply(decision=pb.PASS)
        if granted == DENIED:
            return pb.AclReply(decision=pb.DENY)
        return pb.AclReply(decision=pb.ALLOW, grant=granted)

    async def _acl(self, subject: pb.Subject, peer: pb.Peer, context: Any) -> ClientAcl:
        with callers.asking():
            identity = convert.identity_of(subject, peer)
            return await _available(self._chain.acl(identity, default="pass"), context)

    async def Register(self, request: pb.RegisterRequest, context: Any) -> pb.RegisterReply:
        new = registering.NewClient(
            client_id=request.client_id,
            username=request.username,
            password=request.password,
            display_name=request.display_name,
            owner=request.owner,
            groups=tuple(request.groups),
            transports=tuple(request.transports) or tuple(TRANSPORTS),
            enabled=not request.disabled,
            client_ids=request.client_ids,
        )
        registered = await self._write(context, lambda actor: registering.register(actor, new))
        return pb.RegisterReply(
            client_id=registered.client.client_id,
            username=registered.credential.username,
            secret=registered.secret or "",
        )

    async def Unregister(self, request: pb.UnregisterRequest, context: Any) -> pb.UnregisterReply:
        def unregister(actor: Actor) -> None:
            found = Client.objects.filter(client_id=request.client_id).first()
            if found is None:
                raise Gone("This client is gone.")
            clients.unregister(actor, [found])

        await self._write(context, unregister)
        return pb.UnregisterReply()

    async def _write(self, context: Any, work: Callable[[Actor], T]) -> T:
        actor = await self._access.actor(context.invocation_metadata())
        try:
            return await self._chain.parts.database.write(work, actor.at(_address(context.peer())))
        except ValidationError as error:
            code, text = grpc.StatusCode.INVALID_ARGUMENT, " ".join(error.messages)
        except Duplicate as error:
            code, text = grpc.StatusCode.ALREADY_EXISTS, f"{error} Its id is {error.existing_id}."
        except PermissionDenied as error:
            code, text = grpc.StatusCode.PERMISSION_DENIED, str(error)
        except Gone as error:
            code, text = grpc.StatusCode.NOT_FOUND, str(error)
        except Unavailable:
            code, text = grpc.StatusCode.UNAVAILABLE, "the database does not answer"
        await context.abort(code, text)
        raise AssertionError("abort raises")


async def _available(answer: Awaitable[T], context: Any) -> T:
    try:
        return await answer
    except Overloaded:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, BUSY)
        raise
    except Unavailable:
        await context.abort(grpc.StatusCode.UNAVAILABLE, "the database does not answer")
        raise


def _address(peer: str) -> str:
    """The IP address in gRPC's "ipv4:127.0.0.1:50051" or "ipv6:[::1]:50051"; "" for anything else."""
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


class AuthServer:
    """The gRPC server around the service. `start` answers the port that it listens on."""

    def __init__(
        self,
        conf: ServiceConf,
        chain: Chain,
        observe: Callable[[str, float], None] = lambda method, seconds: None,
    ) -> None:
        """`observe` is told of each call: its method, and how many seconds it took."""
        self._conf = conf
        access = Access(chain.parts.database)
        self._server = aio.server(
            interceptors=[access, Counting(observe)],
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", MAX_MESSAGE),
                ("grpc.so_reuseport", 0),
            ],
        )
        auth_pb2_grpc.add_AuthServicer_to_server(AuthService(chain, access), self._server)  # type: ignore[no-untyped-call]
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    async def start(self) -> int:
        """RuntimeError when the address cannot be had, OSError when the certificate cannot be read."""
        listen = self._conf.listen
        if listen is None:
            raise RuntimeError("[auth.service] listen is empty")
        if self._conf.tls_cert is not None and self._conf.tls_key is not None:
            certificate = ServerCertificate(self._conf.tls_cert, self._conf.tls_key)
            port = self._server.add_secure_port(listen.netloc, certificate.credentials())
        else:
            port = self._server.add_insecure_port(listen.netloc)
        await self._server.start()
        await self.serving(True)
        return int(port)

    async def serving(self, yes: bool) -> None:
        """What health checks hear."""
        status = health_pb2.HealthCheckResponse.SERVING if yes else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", status)
        await self._health.set(SERVICE, status)

    async def stop(self, grace: float) -> None:
        """Refuse new calls, let those under way end within `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
