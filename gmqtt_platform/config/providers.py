"""Everything that the configuration chooses by a name, in one table: key, name, what is known of it.

A provider has a module or folder of its own, with a function that builds it; this table says where. What it
declares here is what the configuration has to know before anything of it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Provider:
    build: str = ""  # "module:function"; "": there is nothing to build
    open: bool = False  # it says yes to everybody, unless auth.mock is "failure"
    remote: bool = False  # it asks the auth service, which therefore cannot use it
    cluster: bool | None = None  # works only in a cluster; only alone; None: both
    kept: str = ""  # where sessions outlive connections: "node", "cluster", "": in memory

    def load(self) -> Callable[..., Any]:
        """The function. Imports the module and what that needs."""
        module, _, name = self.build.partition(":")
        found: Callable[..., Any] = getattr(import_module(module), name)
        return found


_AUTH = "apps.auth.providers"

PROVIDERS: Final[dict[str, dict[str, Provider]]] = {
    "auth.client": {
        "mock": Provider(f"{_AUTH}.mock:build_clients", open=True),
        "django": Provider(f"{_AUTH}.django:build_clients"),
        "jwt": Provider(f"{_AUTH}.jwt:build_clients"),
        "x509": Provider(f"{_AUTH}.x509:build_clients"),
        "scram": Provider(f"{_AUTH}.scram:build_clients"),
        "rpc": Provider(f"{_AUTH}.rpc:build_clients", remote=True),
    },
    "auth.acl": {
        "mock": Provider(f"{_AUTH}.mock:build_acl", open=True),
        "django": Provider(f"{_AUTH}.django:build_acl"),
        "jwt": Provider(f"{_AUTH}.jwt:build_acl"),
        "rpc": Provider(f"{_AUTH}.rpc:build_acl", remote=True),
    },
    "auth.discovery.provider": {
        "static": Provider("apps.auth.discovery.static:build"),
        "etcd": Provider("apps.auth.discovery.etcd:build"),
        "consul": Provider("apps.auth.discovery.consul:build"),
    },
    "broker.provider": {
        "mock": Provider(cluster=False),
        "kafka": Provider("apps.cluster.node:build", cluster=True),
    },
    "sessions.provider": {
        "sqlite": Provider("apps.gateway.sessions.sqlite:build", cluster=False, kept="node"),
        "mock": Provider(),
        "redis": Provider(cluster=True, kept="cluster"),  # built by the cluster's part of the node
    },
}


def names(key: str) -> tuple[str, ...]:
    return tuple(PROVIDERS[key])


def local(key: str) -> tuple[str, ...]:
    """Those that the auth service itself can use."""
    return tuple(name for name, each in PROVIDERS[key].items() if not each.remote)


def find(key: str, name: str) -> Provider:
    return PROVIDERS[key][name]


def any_open(key: str, chain: Iterable[str]) -> bool:
    """Does one of them say yes to everybody?"""
    return any(PROVIDERS[key][name].open for name in chain)


def any_remote(key: str, chain: Iterable[str]) -> bool:
    return any(PROVIDERS[key][name].remote for name in chain)
