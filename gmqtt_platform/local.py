"""How a command on this host reaches the node beside it: its address, its certificate, a token."""

from __future__ import annotations

import getpass
import http.client
import ipaddress
import socket
import ssl
import urllib.request
from dataclasses import dataclass
from typing import Any

from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import Address

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True)
class Local:
    url: str  # of the node, without a path
    context: ssl.SSLContext | None
    introduce: bool = False  # the node takes this host for a proxy: begin with a PROXY header

    def handlers(self) -> list[urllib.request.BaseHandler]:
        """For urllib: how to reach the node."""
        if not self.introduce:
            return [urllib.request.HTTPSHandler(context=self.context)] if self.context is not None else []
        return [_Http(), _Https(context=self.context)]


def _introduced(connection: Any) -> Any:
    """The connection says that it speaks for itself."""

    def connect(*arguments: Any, **options: Any) -> socket.socket:
        opened = socket.create_connection(*arguments, **options)
        opened.sendall(b"PROXY UNKNOWN\r\n")
        return opened

    connection._create_connection = connect
    return connection


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(lambda *a, **o: _introduced(http.client.HTTPConnection(*a, **o)), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        context = self._context  # type: ignore[attr-defined]
        make = http.client.HTTPSConnection
        return self.do_open(lambda *a, **o: _introduced(make(*a, context=context, **o)), req)


def node(conf: Conf) -> Local:
    """Where the node of this configuration serves HTTP. ConfError when that cannot be told."""
    listeners = conf.listeners
    if listeners.http is not None:
        where = _reachable(conf, listeners.http, "listeners.http")
        return Local(f"http://{where}", None, _is_proxy(conf, where))
    if listeners.https is not None:
        context = ssl.create_default_context(cafile=listeners.tls_cert)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the node's own certificate and no other
        context.check_hostname = False
        where = _reachable(conf, listeners.https, "listeners.https")
        return Local(f"https://{where}", context, _is_proxy(conf, where))
    raise conf.error(
        "listeners.http", '""', "an address", "commands talk to a node over HTTP: name one by --url"
    )


def _reachable(conf: Conf, address: Address, key: str) -> str:
    if address.port == 0:
        raise conf.error(key, "port 0", "a port that can be told beforehand", "or name the node by --url")
    return f"{_ANY.get(address.host, address.netloc.rpartition(':')[0])}:{address.port}"


def _is_proxy(conf: Conf, where: str) -> bool:
    """Does the node take a connection from this host, to this place, for a proxy's?"""
    host = where.rpartition(":")[0].strip("[]")
    own = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host) if _is_literal(host) else None
    return (
        conf.http.proxy_protocol
        and own is not None
        and any(own in each for each in conf.http.trusted_proxies)
    )


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def token() -> str:
    """For one command."""
    from apps.auth import proofs  # here, because the address alone needs no Django

    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        person = "somebody"
    return proofs.issue_command_token(person)
