"""Sockets that listen: every address of a name, both families of a wildcard."""

from __future__ import annotations

import errno
import logging
import socket

from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import Address

logger = logging.getLogger(__name__)

TRIES = 20  # ports that the system picks for the first address of a name, until one is free at all of them


def listen(conf: Conf, key: str, address: Address) -> list[socket.socket]:
    """Bound and listening; a ConfError about `key` where that cannot be.

    A name listens on each address that it has. "[::]" takes IPv4 as well, unless another listener has
    0.0.0.0 with the same port.
    """
    found = _resolve(conf, key, address)
    for attempt in range(TRIES):
        opened: list[socket.socket] = []
        port = address.port
        try:
            for family, host in found:
                bound = _listen(conf, family, host, port, len(found) > 1)
                if bound is None:
                    continue
                opened.append(bound)
                port = bound.getsockname()[1]  # of the first one: port 0 is one port for all
            if not opened:
                raise OSError(errno.EADDRNOTAVAIL, "none of its addresses is this machine's")
            return opened
        except OSError as error:
            for each in opened:
                each.close()
            if address.port == 0 and opened and error.errno == errno.EADDRINUSE and attempt < TRIES - 1:
                continue
            raise _error(conf, key, address, error) from None
    raise AssertionError("the last try returns or raises")


def _resolve(conf: Conf, key: str, address: Address) -> list[tuple[int, str]]:
    try:
        answers = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise _error(conf, key, address, error) from None
    found = {(int(family), str(place[0])): None for family, _, _, _, place in answers}  # each once, in order
    return sorted(found, key=lambda each: each[0] != socket.AF_INET)


def _listen(conf: Conf, family: int, host: str, port: int, of_many: bool) -> socket.socket | None:
    """None: one of a name's addresses that this machine does not have, or no IPv6."""
    try:
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        if of_many:
            return None
        raise
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # accepted sockets inherit it
    if conf.listeners.reuse_port:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        both = host == "::" and not _has_ipv4_wildcard(conf, port)
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
    try:
        bound.bind((host, port))
        bound.listen(conf.listeners.backlog)
    except OSError as error:
        bound.close()
        if of_many and error.errno == errno.EADDRNOTAVAIL:
            logger.warning("%s is not an address of this machine: nobody listens there", host)
            return None
        raise
    bound.setblocking(False)
    if host == "::":
        port = bound.getsockname()[1]
        text = "IPv4 as well (dual stack)" if both else "IPv6 only: 0.0.0.0 has a listener of its own"
        logger.info("listening on [::]:%d, %s", port, text)
    return bound


def _has_ipv4_wildcard(conf: Conf, port: int) -> bool:
    listeners = conf.listeners
    others = (*listeners.tcp, *listeners.tls, listeners.http, listeners.https)
    return any(each is not None and each.host == "0.0.0.0" and each.port == port != 0 for each in others)


def _error(conf: Conf, key: str, address: Address, error: OSError) -> Exception:
    why = f" ({error.strerror or error})"
    if error.errno == errno.EADDRINUSE:
        why = ", which another process is listening on"
    found = f"{address.host}:{address.port}{why}"
    return conf.error(key, found, "an address of this machine with a free port; port 0 picks one")
