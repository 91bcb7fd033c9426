"""The PROXY header, byte by byte."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.net import proxy
from tests.wire.proxies import SIGNATURE, v1, v2

GOOD = {
    "v1": (v1(), ("203.0.113.7", 4711)),
    "v1, IPv6": (v1("2001:db8::7", 0), ("2001:db8::7", 0)),
    "v1, unknown": (b"PROXY UNKNOWN\r\n", None),
    "v1, unknown with addresses": (b"PROXY UNKNOWN ffff:f::1 ffff:f::2 65535 65535\r\n", None),
    "v2": (v2(), ("203.0.113.7", 4711)),
    "v2, IPv6": (v2("2001:db8::7", 65535), ("2001:db8::7", 65535)),
    "v2, TLVs": (v2(extra=b"\x04\0\x01x"), ("203.0.113.7", 4711)),
    "v2, local": (v2(command=0), None),
    "v2, local and empty": (SIGNATURE + b"\x20\0\0\0", None),
    "v2, unspecified": (SIGNATURE + b"\x21\0\0\0", None),
    "v2, UNIX socket": (SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), None),
}


@pytest.mark.parametrize("name", GOOD)
def test_whole_cut_and_followed(name: str) -> None:
    header, source = GOOD[name]
    assert proxy.parse(header) == proxy.Header(len(header), source)
    assert proxy.parse(header + b"\x10\x0c\0\4MQTT") == proxy.Header(len(header), source)
    for end in range(1, len(header)):
        assert proxy.parse(header[:end]) is None


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
@pytest.mark.parametrize(
    ("extensions", "secure"),
    [
        (b"", False),
        (b"\x20\0\5\1\0\0\0\0", True),
        (b"\x04\0\1x" + b"\x20\0\5\7\0\0\0\0", True),
        (b"\x20\0\5\0\0\0\0\0", False),
        (b"\x20\0\0", False),
        (b"\x20\0\5", False),
        (b"\x04\xff\xff", False),
    ],
)
def test_whether_the_client_speaks_tls_with_the_proxy(address: str, extensions: bytes, secure: bool) -> None:
    found = proxy.parse(v2(address, extra=extensions))
    assert found is not None and found.secure is secure


def test_an_ipv4_address_in_ipv6_is_that_ipv4_address() -> None:
    assert proxy.plain("::ffff:192.0.2.1") == proxy.plain("::FFFF:c000:201") == "192.0.2.1"
    assert proxy.plain("2001:db8::1") == "2001:db8::1"
    found = proxy.parse(v2("::ffff:192.0.2.1"))
    assert found is not None and found.source == ("192.0.2.1", 4711)


@pytest.mark.parametrize(
    "data",
    [
        b"X",
        b"PROXX",
        b"PROXY\r\n",
        b"PROXY \r\n",
        b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 1\r\n",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 localhost 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1_0 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 \xff.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 " + b"0" * 100,
        SIGNATURE[:5] + b"X",
        SIGNATURE + b"\x11\x11\0\0",
        SIGNATURE + b"\x2f\x11\0\0",
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
        SIGNATURE + b"\x21\x21\0\x23" + bytes(35),
        SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x10\x01",
    ],
)
def test_what_is_no_header(data: bytes) -> None:
    with pytest.raises(proxy.ProxyError):
        proxy.parse(data)


heads = st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\0\x0c"])


@given(heads, st.binary(max_size=200))
def test_nothing_else_escapes(head: bytes, rest: bytes) -> None:
    data = head + rest
    try:
        found = proxy.parse(data)
    except proxy.ProxyError:
        return
    if found is None:
        assert len(data) < proxy.MAX_V2
        return
    length, source, _ = found
    assert 0 < length <= len(data)
    if source is not None:
        ipaddress.ip_address(source[0])
        assert 0 <= source[1] <= 65_535


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3", True), ("11.1.2.3", False), ("::1", True), ("::2", False), ("::ffff:10.0.0.1", True)],
)
def test_who_is_trusted(address: str, expected: bool) -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")]
    assert proxy.trusted(address, networks) is expected
