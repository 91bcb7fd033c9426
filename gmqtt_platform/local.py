"""How a command on this host reaches the node beside it: its address, its certificate, a token."""

from __future__ import annotations

import getpass
import ssl
from dataclasses import dataclass

from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import Address

_ANY = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


@dataclass(frozen=True)
class Local:
    url: str  # of the node, without a path
    context: ssl.SSLContext | None


def node(conf: Conf) -> Local:
    """Where the node of this configuration serves HTTP. ConfError when that cannot be told."""
    listeners = conf.listeners
    if listeners.http is not None:
        return Local(f"http://{_reachable(conf, listeners.http, 'listeners.http')}", None)
    if listeners.https is not None:
        context = ssl.create_default_context(cafile=listeners.tls_cert)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # the node's own certificate and no other
        context.check_hostname = False
        return Local(f"https://{_reachable(conf, listeners.https, 'listeners.https')}", context)
    raise conf.error(
        "listeners.http", '""', "an address", "commands talk to a node over HTTP: name one by --url"
    )


def _reachable(conf: Conf, address: Address, key: str) -> str:
    if address.port == 0:
        raise conf.error(key, "port 0", "a port that can be told beforehand", "or name the node by --url")
    return f"{_ANY.get(address.host, address.netloc.rpartition(':')[0])}:{address.port}"


def token() -> str:
    """For one command."""
    from apps.auth import proofs  # here, because the address alone needs no Django

    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        person = "somebody"
    return proofs.issue_command_token(person)
