"""Where a listener listens: every address of a name, both families of the wildcard."""

from __future__ import annotations

import logging
import socket
from contextlib import closing
from typing import Any

import pytest

from gmqtt_platform import binding
from gmqtt_platform.config.loader import ConfError, load
from gmqtt_platform.config.values import Address


def bound(address: Address, **keys: str) -> list[socket.socket]:
    conf = load({f"GMQTT_{key}": value for key, value in keys.items()})
    return binding.listen(conf, "listeners.tcp", address)


def reaches(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as client:
        return client.connect_ex((host, port)) == 0


@pytest.fixture
def two_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """`localhost`, whatever this machine's file of hosts says."""
    real = socket.getaddrinfo

    def both(host: str, port: int, **more: Any) -> list[Any]:
        if host != "localhost":
            return list(real(host, port, **more))
        return [answer for each in ("::1", "127.0.0.1") for answer in real(each, port, **more)]

    monkeypatch.setattr(socket, "getaddrinfo", both)


@pytest.mark.usefixtures("two_addresses")
def test_a_name_listens_on_each_of_its_addresses_with_one_port() -> None:
    found = bound(Address("tcp", "localhost", 0))
    assert [each.getsockname()[0] for each in found] == ["127.0.0.1", "::1"]
    (port,) = {each.getsockname()[1] for each in found}
    assert reaches("127.0.0.1", port) and reaches("::1", port)
    for each in found:
        each.close()


@pytest.mark.usefixtures("two_addresses")
def test_an_address_that_is_taken_takes_none_of_the_others() -> None:
    with closing(socket.create_server(("::1", 0), family=socket.AF_INET6)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ConfError, match="which another process is listening on"):
            bound(Address("tcp", "localhost", port))
        assert not reaches("127.0.0.1", port)


def test_the_wildcard_of_ipv6_takes_ipv4_as_well_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        (found,) = bound(Address("tcp", "::", 0))
    port = found.getsockname()[1]
    assert f"listening on [::]:{port}, IPv4 as well (dual stack)" in caplog.text
    assert reaches("127.0.0.1", port) and reaches("::1", port)
    found.close()


def test_beside_the_wildcard_of_ipv4_it_takes_ipv6_only(caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.create_server(("0.0.0.0", 0))) as other:
        port = other.getsockname()[1]
        keys = {"LISTENERS__TCP": f"tcp://0.0.0.0:{port}", "AUTH__ALLOW_ANONYMOUS": "true"}
        with caplog.at_level(logging.INFO):
            (found,) = bound(Address("tcp", "::", port), **keys)
        assert "IPv6 only: 0.0.0.0 has a listener of its own" in caplog.text
        found.close()


def test_a_name_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfError) as caught:
        bound(Address("tcp", "no-such-host.invalid", 1))
    assert caught.value.key == "listeners.tcp"
    assert "an address of this machine" in caught.value.allowed
