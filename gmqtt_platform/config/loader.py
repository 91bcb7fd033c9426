"""The configuration of a process: conf/conf.toml, overridden by the environment, as frozen dataclasses.

`load()` reads the file that GMQTT_CONF names (default: conf/conf.toml of the project), then every
GMQTT_<TABLE>__<KEY>, or the file that GMQTT_<TABLE>__<KEY>_FILE names. Whatever is wrong with either is a
ConfError; manage.py prints it and exits with 2.
This module knows no Django, so the broker and the tools can use it alone.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import socket
import ssl
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from gmqtt_platform.config import auth as confauth
from gmqtt_platform.config import broker as confbroker
from gmqtt_platform.config import cluster as confcluster
from gmqtt_platform.config import providers
from gmqtt_platform.config import tls as conftls
from gmqtt_platform.config.auth import AuthConf
from gmqtt_platform.config.broker import BrokerConf
from gmqtt_platform.config.cluster import ClusterConf
from gmqtt_platform.config.metrics import MetricsConf
from gmqtt_platform.config.values import (
    BUNDLE,
    CHECKOUT,
    HOME,
    ROOT,
    Address,
    BadValue,
    Network,
    Rule,
    address,
    bare_address,
    choice,
    flag,
    integer,
    items,
    network,
    origin,
    shown,
    text,
    url,
)

logger = logging.getLogger(__name__)

PREFIX = "GMQTT_"

# Tables that earlier versions had: what stands in them has no effect.
OBSOLETE = {"topics": "filters are always kept in memory"}

MAX_PACKET = 268_435_460  # bytes: the largest remaining length and its fixed header (MQTT 5.0, 2.1.4)
UINT32 = 2**32 - 1
MANY = 10**9
PACKET_OVERHEAD = 128  # bytes that a queued message counts beside its packet
MANY_BYTES = 2**50


class ConfError(Exception):
    """The configuration cannot be used. The text says where, which key, what was found, what is allowed."""

    def __init__(self, where: str, key: str, found: str, allowed: str, hint: str = "") -> None:
        self.where, self.key, self.found, self.allowed, self.hint = where, key, found, allowed, hint
        subject = f"{where}: {key}" if key else where
        super().__init__(f"{subject}: found {found}; allowed: {allowed}" + (f"; {hint}" if hint else ""))


def _node_name(raw: str) -> str:
    if not raw:  # host names may hold what channel names and Redis keys may not
        return re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:64] or "node"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", raw):
        raise ValueError
    return raw


def _directory(raw: str) -> Path:
    if not raw:
        raise ValueError
    return HOME / raw


def _file(raw: str) -> Path | None:
    return HOME / raw if raw else None


def _token(raw: str) -> str:
    if raw and (len(raw) < 16 or not raw.isascii()):
        raise ValueError
    return raw


def _reference(raw: str) -> str:
    if len(raw) > 255 or not raw.isprintable():
        raise ValueError
    return raw


def _url_path(raw: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", raw):
        raise ValueError
    return raw


def _ciphers(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9+!@=:_ -]*", raw) or "@SECLEVEL" in raw.upper():
        raise ValueError
    return raw


def _origin(raw: str) -> str:
    """As a browser writes it in the header Origin."""
    if raw != "*" and not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?", raw):
        raise ValueError
    return raw.lower()


_TCP = "tcp://host:port or mqtt://host:port; IPv6 as tcp://[::1]:port; port 0 to 65535"
_TLS = "mqtts://host:port, tls://host:port or ssl://host:port; IPv6 as mqtts://[::1]:port; port 0 to 65535"
_HTTP = '"" or host:port; IPv6 as [::1]:port; port 0 to 65535'
_FILE = '"" or the path of a PEM file'


@dataclass(frozen=True, slots=True)
class NodeConf:
    name: str = text("", _node_name, '"" or 1 to 64 of: letters, digits, ".", "_", "-"')
    data_dir: Path = text("var", _directory, "the path of a directory")
    shutdown_timeout: int = integer(10, 0, 3600)
    sys_interval: int = integer(10, 0, 86400)
    drain_rate: int = integer(100, 1, 100_000)
    forget_after: int = integer(86400, 0, MANY)
    server_reference: str = text(
        "", _reference, '"" or up to 255 characters such as "other.example.com:1883"'
    )


@dataclass(frozen=True, slots=True)
class ListenersConf:
    tcp: tuple[Address, ...] = items(["tcp://127.0.0.1:1883"], address("tcp", "mqtt"), _TCP)
    tls: tuple[Address, ...] = items([], address("mqtts", "tls", "ssl"), _TLS)
    http: Address | None = text("127.0.0.1:8000", bare_address("http"), _HTTP)
    https: Address | None = text("", bare_address("https"), _HTTP)
    websocket_path: str = text("/mqtt", _url_path, 'a path such as "/mqtt"')
    websocket_origins: tuple[str, ...] = items([], _origin, 'such as "https://app.example.com", or "*"')
    tls_cert: Path | None = text("", _file, _FILE)
    tls_key: Path | None = text("", _file, _FILE)
    tls_client_ca: Path | None = text("", _file, _FILE)
    tls_client_auth: str = choice("none", ("none", "optional", "required"))
    tls_crl: Path | None = text("", _file, _FILE)
    tls_min_version: str = choice("1.2", ("1.0", "1.1", "1.2", "1.3"))
    tls_ciphers: str = text("", _ciphers, '"" or OpenSSL\'s list of cipher suites, such as "ECDHE+AESGCM"')
    tls_security_level: int = integer(2, 0, 5)
    proxy_protocol: bool = flag(False)
    trusted_proxies: tuple[Network, ...] = items(
        ["127.0.0.1/32", "::1/128"], network, 'a network such as "10.0.0.0/8", no bits set after its prefix'
    )
    backlog: int = integer(4096, 1, 65535)
    reuse_port: bool = flag(False)


@dataclass(frozen=True, slots=True)
class HttpConf:
    public_urls: tuple[str, ...] = items([], origin, 'an origin such as "https://mqtt.example.com", no path')
    trusted_proxies: tuple[Network, ...] = items(
        [], network, 'a network such as "10.0.0.0/8", no bits set after its prefix'
    )
    proxy_header: str = choice("x-forwarded", ("x-forwarded", "forwarded"))
    proxy_protocol: bool = flag(False)


@dataclass(frozen=True, slots=True)
class LimitsConf:
    max_packet_size: int = integer(16_777_216, 16, MAX_PACKET)
    max_topic_length: int = integer(65535, 1, 65535)
    max_topic_levels: int = integer(32, 1, 65535)
    max_subscriptions: int = integer(10_000, 1, MANY)
    max_wildcard_subscriptions: int = integer(1000, 0, MANY)
    max_subscribe_filters: int = integer(1000, 1, 10_000)
    receive_maximum: int = integer(1024, 1, 65535)
    inflight_window: int = integer(1024, 1, 65535)
    max_queued_messages: int = integer(100_000, 1, MANY)
    max_queued_bytes: int = integer(67_108_864, 1024, MANY_BYTES)
    queue_full_policy: str = choice("drop_newest", ("drop_newest", "drop_oldest", "disconnect"))
    node_bytes: int = integer(1_073_741_824, 65536, MANY_BYTES)
    max_retained_messages: int = integer(1_000_000, 0, MANY)
    max_retained_bytes: int = integer(268_435_456, 0, MANY_BYTES)
    topic_alias_maximum: int = integer(64, 0, 65535)
    connect_timeout: int = integer(10, 1, 3600)
    min_keepalive: int = integer(0, 0, 65535)
    max_keepalive: int = integer(65535, 1, 65535)
    session_expiry_max: int = integer(604_800, 0, UINT32)
    max_connections: int = integer(100_000, 1, MANY)
    max_http_connections: int = integer(1000, 1, MANY)
    max_http_connections_per_address: int = integer(200, 1, MANY)
    http_body_timeout: int = integer(60, 1, 3600)
    max_http_body: int = integer(16_777_216, 1024, MANY_BYTES)
    max_http_bodies: int = integer(67_108_864, 1024, MANY_BYTES)
    max_sessions: int = integer(1_000_000, 1, MANY)
    connect_rate: int = integer(10_000, 0, MANY)
    publish_rate: int = integer(0, 0, MANY)
    route_cache: int = integer(100_000, 0, MANY)
    route_cache_per_client: int = integer(10_000, 1, MANY)
    memory: int = integer(0, 0, MANY_BYTES)


@dataclass(frozen=True, slots=True)
class SessionsConf:
    provider: str = choice("sqlite", providers.names("sessions.provider"))
    fsync: str = choice("never", ("never", "commit"))
    max_bytes: int = integer(10_737_418_240, 1_048_576, MANY_BYTES)


@dataclass(frozen=True, slots=True)
class RedisConf:
    url: str = text(
        "redis://127.0.0.1:6379/0",
        url(("redis", "rediss", "unix")),
        "redis://host:port/db, rediss://host:port/db or unix:///path",
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class DatabaseConf:
    url: str = text(
        "",
        url(("postgresql", "postgres"), may_be_empty=True),
        '"" (SQLite) or postgresql://user:password@host:port/name',
        secret=True,
    )


@dataclass(frozen=True, slots=True)
class ConsoleConf:
    two_factor: str = choice("optional", ("optional", "required"))
    metrics_token: str = text("", _token, '"" or at least 16 characters', secret=True)


@dataclass(frozen=True, slots=True)
class LogConf:
    level: str = choice("info", ("debug", "info", "warning", "error"))
    format: str = choice("text", ("text", "json"))
    repeats: int = integer(60, 0, 1_000_000)


TABLES: dict[str, type[Any]] = {
    "node": NodeConf,
    "listeners": ListenersConf,
    "http": HttpConf,
    "limits": LimitsConf,
    **confauth.TABLES,
    **confbroker.TABLES,
    "sessions": SessionsConf,
    "redis": RedisConf,
    "cluster": ClusterConf,
    "database": DatabaseConf,
    "console": ConsoleConf,
    "metrics": MetricsConf,
    "log": LogConf,
}
RULES: dict[str, dict[str, Rule]] = {
    table: {f.name: f.metadata["rule"] for f in fields(kind) if "rule" in f.metadata}
    for table, kind in TABLES.items()
}


@dataclass(frozen=True, slots=True)
class Conf:
    node: NodeConf = NodeConf()
    listeners: ListenersConf = ListenersConf()
    http: HttpConf = HttpConf()
    limits: LimitsConf = LimitsConf()
    auth: AuthConf = AuthConf()
    broker: BrokerConf = BrokerConf()
    sessions: SessionsConf = SessionsConf()
    redis: RedisConf = RedisConf()
    cluster: ClusterConf = ClusterConf()
    database: DatabaseConf = DatabaseConf()
    console: ConsoleConf = ConsoleConf()
    metrics: MetricsConf = MetricsConf()
    log: LogConf = LogConf()
    file: str = field(default="", compare=False)
    variables: Mapping[str, str] = field(default_factory=dict, compare=False)  # key -> variable that set it
    in_file: frozenset[str] = field(default=frozenset(), compare=False)  # keys that the file sets

    def error(self, key: str, found: str, allowed: str, hint: str = "") -> ConfError:
        """An error about `key` ("table.key") that names the file or the variable which set it."""
        where = f"environment variable {self.variables[key]}" if key in self.variables else self.file
        return ConfError(where, key, found, allowed, hint)


def default_file() -> Path:
    """conf/conf.toml of a checkout; in an installation ./gmqtt.toml or, without it, the defaults."""
    if CHECKOUT:
        return ROOT / "conf" / "conf.toml"
    own = HOME / "gmqtt.toml"
    return own if own.exists() else BUNDLE / "conf" / "conf.toml"


def secret(environ: Mapping[str, str], name: str) -> str | None:
    """Environment variable `name`, or the contents of the file that `name`_FILE names, without line ends.

    None when neither is set. ConfError when both are, or the file cannot be read.
    """
    file = environ.get(name + "_FILE")
    if file is None:
        return environ.get(name)
    where = f"environment variable {name}_FILE"
    if name in environ:
        raise ConfError(where, "", f"{name} as well", "one of the two")
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        found = f"{shown(file)} ({getattr(error, 'strerror', None) or 'not UTF-8'})"
        raise ConfError(where, "", found, "the path of a readable file") from None


def load(environ: Mapping[str, str] | None = None) -> Conf:
    """Read file and environment (default: the process's own); ConfError when something is wrong with them."""
    environ = os.environ if environ is None else environ
    file = environ.get(PREFIX + "CONF") or str(default_file())
    values = _from_file(file)
    in_file = frozenset(f"{table}.{key}" for table, keys in values.items() for key in keys)
    variables = _from_environment(environ, values)
    tables = {table: kind(**values[table]) for table, kind in TABLES.items()}
    for name in [name for name in tables if "." in name]:  # [auth.jwt] is auth's field jwt
        parent, _, key = name.partition(".")
        tables[parent] = replace(tables[parent], **{key: tables.pop(name)})
    tables["auth"] = confauth.knowing(
        tables["auth"], (*tables["listeners"].trusted_proxies, *tables["http"].trusted_proxies)
    )
    conf = Conf(**tables, file=file, variables=variables, in_file=in_file)
    check(conf)
    return conf


def check(conf: Conf) -> None:
    """ConfError for what no single key can tell."""
    _check_tls(conf)
    _check_tables(conf)
    _check_limits(conf)
    _check_anonymous(conf)
    _check_auth_service(conf)


def _from_file(file: str) -> dict[str, dict[str, object]]:
    values: dict[str, dict[str, object]] = {table: {} for table in TABLES}
    for table, keys in _toml(file).items():
        if table in OBSOLETE:
            logger.warning("%s: [%s] has no effect, delete it: %s", file, table, OBSOLETE[table])
            continue
        if table not in TABLES:
            raise ConfError(file, table, "an unknown table", ", ".join(TABLES), _nearest(table, TABLES))
        if not isinstance(keys, dict):
            raise ConfError(file, table, shown(keys), f"a table, written as [{table}]")
        _from_table(file, table, keys, values)
    return values


def _from_table(file: str, table: str, keys: dict[str, Any], values: dict[str, dict[str, object]]) -> None:
    for key, raw in keys.items():
        if f"{table}.{key}" in TABLES and isinstance(raw, dict):
            _from_table(file, f"{table}.{key}", raw, values)
            continue
        rule = RULES[table].get(key)
        if rule is None:
            known = RULES[table]
            raise ConfError(file, f"{table}.{key}", "an unknown key", ", ".join(known), _nearest(key, known))
        try:
            values[table][key] = rule.read(raw)
        except ValueError as refusal:
            raise ConfError(file, f"{table}.{key}", _found(rule, raw, refusal), rule.allowed) from None


def _toml(file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfError(
            file, "", error.strerror or str(error), "a readable TOML file (GMQTT_CONF names it)"
        ) from None
    except RecursionError:
        raise ConfError(file, "", "values nested too deeply", "TOML") from None
    except ValueError as error:  # not UTF-8, not TOML
        raise ConfError(file, "", str(error), "TOML in UTF-8") from None


def _from_environment(environ: Mapping[str, str], values: dict[str, dict[str, object]]) -> dict[str, str]:
    """Put the overrides into `values`; answer "table.key" -> the variable's name."""
    variables = {}
    names = {
        f"{PREFIX}{t.replace('.', '__')}__{k}".upper(): (t, k) for t, rules in RULES.items() for k in rules
    }
    for set_by in sorted(environ):
        if not set_by.startswith(PREFIX) or "__" not in set_by:
            continue
        where = f"environment variable {set_by}"
        name, value = set_by, environ[set_by]
        obsolete = name.removeprefix(PREFIX).partition("__")[0].lower()
        if obsolete in OBSOLETE:
            logger.warning("%s has no effect, delete it: %s", where, OBSOLETE[obsolete])
            continue
        if name not in names and name.removesuffix("_FILE") in names:
            name = name.removesuffix("_FILE")
            value = secret(environ, name) or ""
        if name not in names:
            table = name[: name.index("__") + 2]
            start = table if any(known.startswith(table) for known in names) else PREFIX
            ends = [known.removeprefix(start) for known in names if known.startswith(start)]
            allowed = ", ".join(start + end for end in ends)
            raise ConfError(
                where, "", "an unknown key", allowed, _nearest(name.removeprefix(start), ends, start)
            )
        table, key = names[name]
        rule = RULES[table][key]
        try:
            values[table][key] = rule.read_text(value)
        except ValueError as refusal:
            raise ConfError(where, f"{table}.{key}", _found(rule, value, refusal), rule.allowed) from None
        variables[f"{table}.{key}"] = set_by
    return variables


def _found(rule: Rule, raw: object, refusal: ValueError) -> str:
    return rule.show(refusal.found if isinstance(refusal, BadValue) else raw)


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {prefix}{near[0]}?" if near else ""


# ---------------------------------------------------------------- what no single key can tell


def _check_tls(conf: Conf) -> None:
    listeners = conf.listeners
    user = "listeners.tls" if listeners.tls else "listeners.https"
    if listeners.tls or listeners.https:
        cert, key = _readable(conf, "tls_cert", user), _readable(conf, "tls_key", user)
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password=lambda: "")
        except (OSError, ValueError):  # SSLError is an OSError
            found = f"{shown(str(cert))} with {shown(str(key))}"
            allowed = "a PEM certificate chain in tls_cert and its key, not encrypted, in tls_key"
            raise conf.error("listeners.tls_cert", found, allowed) from None
    if listeners.tls_client_auth != "none" or listeners.tls_client_ca:
        ca = _readable(conf, "tls_client_ca", f'listeners.tls_client_auth = "{listeners.tls_client_auth}"')
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(ca)
        except (OSError, ValueError):
            raise conf.error("listeners.tls_client_ca", shown(str(ca)), "PEM certificates") from None
    wrong = conftls.complaint(listeners)
    if wrong is not None:
        raise conf.error(*wrong)
    if listeners.proxy_protocol and not listeners.trusted_proxies:
        hint = "listeners.proxy_protocol is true, and nobody may speak it"
        raise conf.error("listeners.trusted_proxies", "[]", "at least one network", hint)
    if conf.http.proxy_protocol and not conf.http.trusted_proxies:
        hint = "http.proxy_protocol is true, and nobody may speak it"
        raise conf.error("http.trusted_proxies", "[]", "at least one network", hint)


def _readable(conf: Conf, key: str, user: str) -> Path:
    path: Path | None = getattr(conf.listeners, key)
    allowed = f"the path of a readable PEM file: {user} needs it"
    if path is None:
        raise conf.error(f"listeners.{key}", '""', allowed)
    try:
        path.read_bytes()
    except OSError as error:
        raise conf.error(f"listeners.{key}", f"{shown(str(path))} ({error.strerror})", allowed) from None
    return path


def _check_tables(conf: Conf) -> None:
    complaints = (
        confauth.complaint(conf.auth),
        confbroker.complaint(conf.broker),
        confcluster.complaint(conf.cluster),
    )
    for found in complaints:
        if found is not None:
            raise conf.error(*found)
    bus, sessions = conf.broker.provider, conf.sessions.provider
    clustered = providers.find("broker.provider", bus).cluster
    if clustered and not conf.cluster.enabled:
        raise conf.error("cluster.enabled", "false", f'true, for broker.provider is "{bus}"')
    usable = [
        name
        for name, each in providers.PROVIDERS["sessions.provider"].items()
        if each.cluster in (None, clustered)
    ]
    if sessions not in usable:
        allowed = " or ".join(f'"{name}"' for name in usable)
        raise conf.error("sessions.provider", f'"{sessions}"', f'{allowed}, for broker.provider is "{bus}"')


def _check_limits(conf: Conf) -> None:
    low, high = conf.limits.min_keepalive, conf.limits.max_keepalive
    if low > high:
        raise conf.error("limits.min_keepalive", str(low), f"at most limits.max_keepalive, {high}")
    limits = conf.limits
    least = 2 * (limits.max_packet_size + PACKET_OVERHEAD)
    if limits.max_queued_bytes < least:
        hint = "what is accepted must fit into the queue of a client that reads it; or lower max_packet_size"
        allowed = f"at least {least}, twice limits.max_packet_size ({limits.max_packet_size}) and a little"
        raise conf.error("limits.max_queued_bytes", str(limits.max_queued_bytes), allowed, hint)
    if limits.node_bytes < least:
        hint = "all clients together need room for more than one packet; or lower max_packet_size"
        allowed = f"at least {least}, twice limits.max_packet_size ({limits.max_packet_size}) and a little"
        raise conf.error("limits.node_bytes", str(limits.node_bytes), allowed, hint)
    if limits.max_http_bodies < limits.max_http_body:
        allowed = f"at least limits.max_http_body, {limits.max_http_body}"
        raise conf.error("limits.max_http_bodies", str(limits.max_http_bodies), allowed)


def _check_anonymous(conf: Conf) -> None:
    """Without authentication, or without access rules, a node is for its own machine only.

    mock answers every question, so one that is anywhere in a chain decides for whoever the others pass on.
    """
    auth = conf.auth
    if auth.allow_anonymous or auth.mock != "success":
        return
    if auth.lets_anyone_in:
        key = "client"
        hint = "to open it set auth.allow_anonymous = true or choose another provider in auth.client"
    elif providers.any_open("auth.acl", auth.acl) and not auth.allow_all_topics:
        key = "acl"
        hint = 'set auth.acl = ["django"], or auth.allow_all_topics = true to let every client do everything'
    else:
        return
    chain = auth.client if key == "client" else auth.acl
    why = f"auth.{key} is only mock" if set(chain) == {"mock"} else f"mock is in auth.{key}"
    for listener, found in _public(conf):
        allowed = f"a loopback address (127.0.0.1, [::1], localhost) while {why}"
        raise conf.error(f"listeners.{listener}", shown(found), allowed, hint)


def _public(conf: Conf) -> Iterator[tuple[str, str]]:
    """Listeners that others than this machine reach: key and address."""
    listeners = conf.listeners
    others = {"http": listeners.http, "https": listeners.https}
    doors = {"tcp": listeners.tcp, "tls": listeners.tls} | {k: (v,) for k, v in others.items() if v}
    for key, addresses in doors.items():
        for door in addresses:
            if not door.is_loopback:
                yield key, str(door) if key in ("tcp", "tls") else door.netloc


def _check_auth_service(conf: Conf) -> None:
    """The nodes that ask it trust its answers, wherever they listen."""
    auth, service = conf.auth, conf.auth.service
    if auth.allow_anonymous or auth.mock != "success" or service.listen is None or service.listen.is_loopback:
        return
    for key, chain in (("client", service.client), ("acl", service.acl)):
        if providers.any_open(f"auth.{key}", chain) and not (key == "acl" and auth.allow_all_topics):
            allowed = f"a loopback address while mock is in auth.service.{key}"
            hint = f'set auth.service.{key} = ["django"], or auth.allow_anonymous = true'
            raise conf.error("auth.service.listen", shown(service.listen.netloc), allowed, hint)
