"""The [auth] table and its sub-tables."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from gmqtt_platform.config import providers
from gmqtt_platform.config.values import (
    Address,
    Network,
    address,
    bare_address,
    chain,
    choice,
    file,
    flag,
    integer,
    items,
    name,
    network,
    opaque,
    text,
    url,
)

ALGORITHMS = ("HS256", "RS256", "ES256")

DAY = 86_400
_WORD = '1 to 64 of: letters, digits, ".", "_", "-"'


@dataclass(frozen=True, slots=True)
class GuardConf:
    window: int = integer(60, 1, DAY)
    failures_per_address: int = integer(100, 0, 1_000_000)
    failures_per_client: int = integer(10, 0, 1_000_000)
    connects_per_client: int = integer(0, 0, 1_000_000)
    ban_seconds: int = integer(600, 0, 30 * DAY)
    exempt: tuple[Network, ...] = items(
        ["127.0.0.0/8", "::1/128"], network, 'a network such as "10.0.0.0/8", no bits set after its prefix'
    )
    # Those of [listeners] and [http]; no key of its own.
    proxies: tuple[Network, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class JwtConf:
    algorithms: tuple[str, ...] = chain(["HS256"], ALGORITHMS)
    secret: str = opaque("")
    jwks_file: Path | None = file("a JSON Web Key Set")
    audience: str = text("", str, "text")
    issuer: str = text("", str, "text")
    leeway: int = integer(10, 0, 3600)
    client_id_claim: str = text("sub", str, "text")
    username_claim: str = text("", str, "text")
    acl_claim: str = text("acl", str, "text")
    registered: bool = flag(False)


@dataclass(frozen=True, slots=True)
class X509Conf:
    match: str = choice("registered", ("registered", "common_name"))


@dataclass(frozen=True, slots=True)
class DiscoveryConf:
    provider: str = choice("static", providers.names("auth.discovery.provider"))
    addresses: tuple[Address, ...] = items(["grpc://127.0.0.1:50051"], address("grpc"), "grpc://host:port")
    service: str = text("gmqtt-auth", name, _WORD)
    etcd: str = text("http://127.0.0.1:2379", url(("http", "https")), "http://host:port or https://host:port")
    consul: str = text(
        "http://127.0.0.1:8500", url(("http", "https")), "http://host:port or https://host:port"
    )
    consul_token: str = opaque("")
    ttl: int = integer(10, 2, 3600)


@dataclass(frozen=True, slots=True)
class RpcConf:
    access_key: str = text("", str, "text")
    secret: str = opaque("")
    timeout_ms: int = integer(1000, 10, 60_000)
    max_inflight: int = integer(1000, 1, 1_000_000)
    breaker_failures: int = integer(5, 1, 1000)
    breaker_seconds: int = integer(5, 1, 3600)
    tls_ca: Path | None = file("a PEM file")
    tls_name: str = text("", str, "text")


@dataclass(frozen=True, slots=True)
class ServiceConf:
    listen: Address | None = text("127.0.0.1:50051", bare_address("grpc"), "host:port; IPv6 as [::1]:port")
    advertise: Address | None = text("", bare_address("grpc"), '"" or host:port')
    client: tuple[str, ...] = chain(["django"], providers.local("auth.client"))
    acl: tuple[str, ...] = chain(["django"], providers.local("auth.acl"))
    tls_cert: Path | None = file("a PEM file")
    tls_key: Path | None = file("a PEM file")
    workers: int = integer(4, 1, 256)


@dataclass(frozen=True, slots=True)
class AuthConf:
    client: tuple[str, ...] = chain(["mock"], providers.names("auth.client"))
    acl: tuple[str, ...] = chain(["mock"], providers.names("auth.acl"))
    mock: str = choice("success", ("success", "failure"))
    allow_anonymous: bool = flag(False)
    allow_all_topics: bool = flag(False)
    acl_default: str = choice("deny", ("deny", "allow"))
    cache_size: int = integer(100_000, 0, 10_000_000)
    cache_ttl: int = integer(300, 1, DAY)
    cache_grace: int = integer(0, 0, 7 * 24 * 60)
    unknown_ttl: int = integer(5, 1, 3600)
    database_threads: int = integer(2, 1, 64)
    password_threads: int = integer(1, 1, 64)
    password_queue: int = integer(256, 0, 100_000)
    refusals_kept: int = integer(100_000, 0, 100_000_000)
    guard: GuardConf = GuardConf()
    jwt: JwtConf = JwtConf()
    x509: X509Conf = X509Conf()
    rpc: RpcConf = RpcConf()
    service: ServiceConf = ServiceConf()
    discovery: DiscoveryConf = DiscoveryConf()

    @property
    def lets_anyone_in(self) -> bool:
        """Does a client need no credential?"""
        return self.mock == "success" and providers.any_open("auth.client", self.client)


TABLES = {
    "auth": AuthConf,
    "auth.guard": GuardConf,
    "auth.jwt": JwtConf,
    "auth.x509": X509Conf,
    "auth.rpc": RpcConf,
    "auth.service": ServiceConf,
    "auth.discovery": DiscoveryConf,
}


def knowing(auth: AuthConf, proxies: tuple[Network, ...]) -> AuthConf:
    """Tell the guard the trusted proxies: one that does not say whom it speaks for hides many clients."""
    return replace(auth, guard=replace(auth.guard, proxies=tuple(dict.fromkeys(proxies))))


def complaint(auth: AuthConf) -> tuple[str, str, str] | None:
    """What no single key can tell, as (key, found, allowed); None: all is well."""
    if "jwt" in (*auth.client, *auth.service.client) and not (auth.jwt.secret or auth.jwt.jwks_file):
        return "auth.jwt.jwks_file", '""', "a file while jwt is in auth.client and auth.jwt.secret is empty"
    if auth.jwt.secret:
        if "HS256" not in auth.jwt.algorithms:
            return "auth.jwt.algorithms", "no HS256", "HS256 among them, for auth.jwt.secret is set"
        if len(auth.jwt.secret.encode()) < 32:
            return "auth.jwt.secret", "a short one", "at least 32 bytes"
    if providers.any_remote("auth.client", auth.client) or providers.any_remote("auth.acl", auth.acl):
        if not (auth.rpc.access_key and auth.rpc.secret):
            key = "secret" if auth.rpc.access_key else "access_key"
            return f"auth.rpc.{key}", '""', "what a service account with the role gateway has: rpc needs it"
        if auth.discovery.provider == "static" and not auth.discovery.addresses:
            return "auth.discovery.addresses", "[]", "at least one: rpc with static discovery needs it"
    for key, path in (("jwt.jwks_file", auth.jwt.jwks_file), ("rpc.tls_ca", auth.rpc.tls_ca)):
        if path is not None and not path.is_file():
            return f"auth.{key}", f'"{path}"', "the path of a file that is there"
    if (auth.service.tls_cert is None) != (auth.service.tls_key is None):
        key = "tls_key" if auth.service.tls_cert else "tls_cert"
        return f"auth.service.{key}", '""', "certificate and key, both or neither"
    return None
