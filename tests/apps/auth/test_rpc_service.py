"""The auth service: who may call it, and what it answers."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from asgiref.sync import sync_to_async
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from apps.auth import permissions, proofs
from apps.auth.models import Client, Credential, ServiceAccount
from apps.auth.rpc import access
from apps.auth.rpc import auth_pb2 as pb
from apps.auth.rpc.access import SERVICE, CallerToken
from apps.common import rbac
from gmqtt_platform.config.loader import ROOT
from tests.apps.auth.chains import connect, register
from tests.apps.auth.services import Service, gateway, new_account, serving

pytestmark = pytest.mark.django_db(transaction=True)

METHODS: dict[str, tuple[Any, Any]] = {
    "Auth": (pb.AuthRequest(client_id="x", level=5), pb.AuthReply),
    "PubAuth": (pb.PubAuthRequest(subject=pb.Subject(client_id="x"), topic="a"), pb.AclReply),
    "SubAuth": (pb.SubAuthRequest(subject=pb.Subject(client_id="x"), filter="a"), pb.AclReply),
    "Register": (pb.RegisterRequest(client_id="new"), pb.RegisterReply),
    "Unregister": (pb.UnregisterRequest(client_id="new"), pb.UnregisterReply),
}


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as service:
        yield service


async def call(service: Service, method: str, metadata: Any, request: Any = None) -> Any:
    """The reply; or the status code."""
    asked, reply = METHODS[method]
    async with aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        ask = channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=type(asked).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            return await ask(request or asked, metadata=metadata, timeout=5)
        except aio.AioRpcError as error:
            return error.code()


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.mark.parametrize("role", [*rbac.builtin_roles(), None])
async def test_each_method_by_each_role(service: Service, role: str | None) -> None:
    key, secret = await sync_to_async(new_account)(*([role] if role else []))
    metadata = CallerToken(key, secret).metadata()
    assert set(METHODS) == set(permissions.RPC_METHODS)
    for method, permission in permissions.RPC_METHODS.items():
        answer = await call(service, method, metadata)
        allowed = role is not None and permission in rbac.builtin_roles()[role]
        assert (answer != grpc.StatusCode.PERMISSION_DENIED) is allowed, (method, role)


async def test_who_has_no_proof(service: Service) -> None:
    key, secret = await sync_to_async(new_account)("admin")
    now = int(time.time())
    good = {"iss": key, "aud": "rpc", "iat": now, "exp": now + 60}
    tokens = {
        "wrong secret": jwt.encode(good, "x" * 32),
        "another audience": jwt.encode(good | {"aud": "api"}, secret),
        "expired": jwt.encode(good | {"iat": now - 100, "exp": now - 20}, secret),
        "too long": jwt.encode(good | {"exp": now + 9999}, secret),
        "nobody": jwt.encode(good | {"iss": "gak_nobody"}, secret),
        "without end": jwt.encode({k: v for k, v in good.items() if k != "exp"}, secret),
        "no token": "x",
    }
    for why, token in tokens.items():
        assert await call(service, "Auth", bearer(token)) == grpc.StatusCode.UNAUTHENTICATED, why
    for metadata in ((), (("authorization", "Basic x"),), (("authorization", "Bearer "),)):
        assert await call(service, "Auth", metadata) == grpc.StatusCode.UNAUTHENTICATED
    assert isinstance(await call(service, "Auth", bearer(jwt.encode(good, secret))), pb.AuthReply)


async def test_a_token_of_the_platform(service: Service) -> None:
    key, secret = await sync_to_async(new_account)("gateway")
    token = await sync_to_async(proofs.issue_token)(key, secret, "rpc")
    assert isinstance(await call(service, "Auth", bearer(token)), pb.AuthReply)
    other = await sync_to_async(proofs.issue_token)(key, secret, "api")
    assert await call(service, "Auth", bearer(other)) == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "change", [{"enabled": False}, {"expires_at": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}]
)
async def test_an_account_that_may_no_longer(
    service: Service, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, secret = await sync_to_async(new_account)("gateway")
    metadata = CallerToken(key, secret).metadata()
    await ServiceAccount.objects.aupdate(**change)
    assert await call(service, "Auth", metadata) == grpc.StatusCode.UNAUTHENTICATED


async def test_register_and_unregister(service: Service) -> None:
    key, secret = await sync_to_async(new_account)("registrar")
    metadata = CallerToken(key, secret).metadata()

    async def register(**fields: Any) -> Any:
        return await call(service, "Register", metadata, pb.RegisterRequest(**fields))

    made = await register(client_id="d-1", transports=["tls"])
    assert (made.client_id, made.username) == ("d-1", "d-1")
    assert made.secret.startswith("gmq_")
    assert (await Client.objects.aget()).transports == ["tls"]
    assert await register(client_id="d-1") == grpc.StatusCode.ALREADY_EXISTS
    assert await register(client_id="d\0") == grpc.StatusCode.INVALID_ARGUMENT
    assert await register(client_id="d-2", groups=["none"]) == grpc.StatusCode.INVALID_ARGUMENT
    await register(client_id="house", client_ids="home-*")
    assert (await Credential.objects.aget(username="house")).client_ids == "home-*"
    assert await register(client_id="wrong", client_ids="a" * 300) == grpc.StatusCode.INVALID_ARGUMENT
    await Client.objects.filter(client_id="house").adelete()
    gone = pb.UnregisterRequest(client_id="d-1")
    assert isinstance(await call(service, "Unregister", metadata, gone), pb.UnregisterReply)
    assert await call(service, "Unregister", metadata, gone) == grpc.StatusCode.NOT_FOUND
    assert await Client.objects.acount() == 0


async def test_health_is_open_to_all(service: Service) -> None:
    async with aio.insecure_channel(f"127.0.0.1:{service.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_token_is_made_anew_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    token = CallerToken("key", "s" * 32)
    first = token.metadata()
    assert token.metadata() == first
    now = time.time()
    monkeypatch.setattr(access.time, "time", lambda: now + 200)
    assert token.metadata() != first


def certify(directory: Path, serial: int) -> dict[str, Path]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "auth.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("auth.example")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    files = {"cert": directory / "cert.pem", "key": directory / "key.pem"}
    files["cert"].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files["key"].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


async def test_over_tls(tmp_path: Path) -> None:
    files = certify(tmp_path, 1)
    _, secret = await sync_to_async(register)()
    async with serving(service__tls_cert=str(files["cert"]), service__tls_key=str(files["key"])) as service:
        chain = await gateway(service.address, rpc__tls_ca=str(files["cert"]), rpc__tls_name="auth.example")
        assert (await chain.connect(connect(password=secret))).accepted
        await chain.close()


async def test_certificates_are_renewed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of the service at the next handshake, of the gateway at its next look into the directory."""
    files = certify(tmp_path, 1)
    _, secret = await sync_to_async(register)()

    async def serial(address: str) -> int:
        host, _, port = address.removeprefix("grpc://").rpartition(":")
        pem = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    async with serving(service__tls_cert=str(files["cert"]), service__tls_key=str(files["key"])) as service:
        chain = await gateway(service.address, rpc__tls_ca=str(files["cert"]), rpc__tls_name="auth.example")
        assert (await chain.connect(connect(password=secret))).accepted
        client = chain.parts.rpc
        certify(tmp_path, 2)
        assert await serial(service.address) == 2
        before = dict(client._instances)
        client._take(set(before))
        assert client._instances.keys() == before.keys()
        assert client._instances != before
        assert (await chain.connect(connect(password=secret))).accepted
        files["cert"].write_text("-----BEGIN CERTIFICATE-----\nhalf of one")
        assert await serial(service.address) == 2
        assert "the new certificate is not used, the old one stays" in caplog.text
        before = dict(client._instances)
        client._take(set(before))
        assert client._instances == before
        assert "the new CA is not used, the old one stays" in caplog.text
        await chain.close()


def test_the_generated_code_is_current(tmp_path: Path) -> None:
    from grpc_tools import protoc

    proto = "apps/auth/rpc/auth.proto"
    out = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    assert protoc.main(["protoc", f"-I{ROOT}", *out, str(ROOT / proto)]) == 0
    for name in ("auth_pb2.py", "auth_pb2.pyi", "auth_pb2_grpc.py"):
        kept, made = ROOT / "apps/auth/rpc" / name, tmp_path / "apps/auth/rpc" / name
        assert kept.read_text() == made.read_text(), f"run make proto: {name} is not what auth.proto says"
