"""What no single key can tell: TLS files, the PROXY protocol's peers, and the safe default."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ConfError, load
from tests.wire import certs

TLS = {"GMQTT_LISTENERS__TLS": "mqtts://127.0.0.1:0"}
HTTPS = {"GMQTT_LISTENERS__HTTPS": "127.0.0.1:0"}


def refusal(environ: dict[str, str]) -> ConfError:
    with pytest.raises(ConfError) as caught:
        load(environ)
    return caught.value


@pytest.mark.parametrize("listener", [TLS, HTTPS])
def test_tls_needs_a_certificate_and_its_key(
    listener: dict[str, str], certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    files = {"GMQTT_LISTENERS__TLS_CERT": str(cert), "GMQTT_LISTENERS__TLS_KEY": str(key)}
    conf = load(listener | files)
    assert (conf.listeners.tls_cert, conf.listeners.tls_key) == certificate

    for name in files:
        missing = refusal(listener | {k: v for k, v in files.items() if k != name})
        assert missing.key == name.removeprefix("GMQTT_").replace("__", ".").lower()
        assert missing.where.endswith("conf.toml")
        assert missing.found == '""'
        assert "listeners.tls" in missing.allowed or "listeners.https" in missing.allowed

        absent = refusal(listener | files | {name: "/nonexistent.pem"})
        assert absent.where == f"environment variable {name}"
        assert absent.found == '"/nonexistent.pem" (No such file or directory)'


def test_certificate_and_key_must_belong_together(certificate: tuple[Path, Path]) -> None:
    cert, _ = certificate
    files = {"GMQTT_LISTENERS__TLS_CERT": str(cert), "GMQTT_LISTENERS__TLS_KEY": str(cert)}
    error = refusal(TLS | files)
    assert error.key == "listeners.tls_cert"
    assert "its key, not encrypted" in error.allowed


def test_client_certificates_need_a_ca(certificate: tuple[Path, Path]) -> None:
    error = refusal({"GMQTT_LISTENERS__TLS_CLIENT_AUTH": "required"})
    assert error.key == "listeners.tls_client_ca"
    assert 'tls_client_auth = "required"' in error.allowed
    cert, key = certificate
    asked = {"GMQTT_LISTENERS__TLS_CLIENT_AUTH": "optional"}
    load(asked | {"GMQTT_LISTENERS__TLS_CLIENT_CA": str(cert)})
    assert refusal(asked | {"GMQTT_LISTENERS__TLS_CLIENT_CA": str(key)}).allowed == "PEM certificates"


def test_the_proxy_protocol_needs_a_trusted_peer() -> None:
    error = refusal({"GMQTT_LISTENERS__PROXY_PROTOCOL": "true", "GMQTT_LISTENERS__TRUSTED_PROXIES": ""})
    assert error.key == "listeners.trusted_proxies"


def test_http_needs_a_trusted_peer_for_the_proxy_protocol() -> None:
    assert refusal({"GMQTT_HTTP__PROXY_PROTOCOL": "true"}).key == "http.trusted_proxies"
    load({"GMQTT_HTTP__PROXY_PROTOCOL": "true", "GMQTT_HTTP__TRUSTED_PROXIES": "10.0.0.1"})


@pytest.mark.parametrize(
    ("keys", "key", "allowed"),
    [
        ({"tls_min_version": "1.0"}, "tls_security_level", '0 while tls_min_version = "1.0"'),
        ({"tls_min_version": "1.1", "tls_security_level": "1"}, "tls_security_level", "0 while"),
        ({"tls_ciphers": "no-such-suite"}, "tls_ciphers", "at least one suite of security level 2"),
        ({"tls_ciphers": "ALL:@SECLEVEL=0"}, "tls_ciphers", "OpenSSL's list of cipher suites"),
        ({"tls_crl": "/nonexistent"}, "tls_crl", '"" while tls_client_auth = "none"'),
    ],
)
def test_what_tls_cannot_be(keys: dict[str, str], key: str, allowed: str) -> None:
    error = refusal({f"GMQTT_LISTENERS__{name.upper()}": value for name, value in keys.items()})
    assert error.key == f"listeners.{key}"
    assert allowed in error.allowed


def test_old_devices_can_be_let_in() -> None:
    load({"GMQTT_LISTENERS__TLS_MIN_VERSION": "1.0", "GMQTT_LISTENERS__TLS_SECURITY_LEVEL": "0"})
    load({"GMQTT_LISTENERS__TLS_CIPHERS": "ECDHE+AESGCM"})


def test_a_crl_is_one_of_the_client_ca(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    own, others = certs.make(tmp_path), certs.make(tmp_path / "others")
    asked = {"GMQTT_LISTENERS__TLS_CLIENT_AUTH": "required", "GMQTT_LISTENERS__TLS_CLIENT_CA": str(own.ca)}
    crl = tmp_path / "crl.pem"

    def refused() -> str:
        error = refusal(asked | {"GMQTT_LISTENERS__TLS_CRL": str(crl)})
        assert error.key == "listeners.tls_crl"
        assert "a CRL of tls_client_ca" in error.allowed
        return error.found

    assert "No such file" in refused()
    crl.write_text("nothing")
    assert "no CRL in it" in refused()
    crl.write_text("-----BEGIN X509 CRL-----\nhalf\n-----END X509 CRL-----")
    assert refused()
    certs.crl(others, crl)
    assert "a CRL of CN=Test authority" in refused()
    certs.crl(own, crl)
    load(asked | {"GMQTT_LISTENERS__TLS_CRL": str(crl)})


OPEN = [
    ("tcp", "tcp://127.0.0.1:1,tcp://0.0.0.0:1883", '"tcp://0.0.0.0:1883"'),
    ("tcp", "tcp://[::]:1883", '"tcp://[::]:1883"'),
    ("tcp", "mqtt://broker.example.com:1883", '"mqtt://broker.example.com:1883"'),
    ("tls", "mqtts://192.0.2.1:8883", '"mqtts://192.0.2.1:8883"'),
    ("http", "0.0.0.0:8000", '"0.0.0.0:8000"'),
    ("https", "[::]:8443", '"[::]:8443"'),
]


@pytest.mark.parametrize(("listener", "value", "found"), OPEN)
def test_without_authentication_only_loopback(
    listener: str, value: str, found: str, certificate: tuple[Path, Path]
) -> None:
    variable = f"GMQTT_LISTENERS__{listener.upper()}"
    environ = {
        variable: value,
        "GMQTT_LISTENERS__TLS_CERT": str(certificate[0]),
        "GMQTT_LISTENERS__TLS_KEY": str(certificate[1]),
    }
    for chain in ("mock", "mock,mock"):
        error = refusal(environ | {"GMQTT_AUTH__CLIENT": chain})
        assert (error.where, error.key) == (f"environment variable {variable}", f"listeners.{listener}")
        assert error.found == found
        assert "loopback" in error.allowed
        assert "auth.allow_anonymous = true" in error.hint

    load(environ | {"GMQTT_AUTH__ALLOW_ANONYMOUS": "true"})
    load(environ | {"GMQTT_AUTH__MOCK": "failure"})


@pytest.mark.parametrize(
    ("heartbeat", "dead_after", "allowed"),
    [("2", "5", "6 to 6"), ("2", "7", "6 to 6"), ("1", "9", ""), ("1", "8", None), ("2", "6", None)],
)
def test_a_dead_node_is_noticed_within_ten_seconds(
    heartbeat: str, dead_after: str, allowed: str | None
) -> None:
    environ = {"GMQTT_CLUSTER__HEARTBEAT": heartbeat, "GMQTT_CLUSTER__DEAD_AFTER": dead_after}
    if allowed is None:
        assert load(environ).cluster.dead_after == int(dead_after)
        return
    error = refusal(environ)
    assert error.key == "cluster.dead_after"
    assert allowed in error.allowed


def test_the_limits_fit_each_other(tmp_path: Path) -> None:
    """What is accepted must fit into the queue of who reads it: named with file, key and remedy."""
    file = tmp_path / "node.toml"
    file.write_text("[limits]\nmax_packet_size = 16777216\nmax_queued_bytes = 16777216\n")
    error = refusal({"GMQTT_CONF": str(file)})
    assert (error.where, error.key, error.found) == (str(file), "limits.max_queued_bytes", "16777216")
    assert "at least 33554688" in str(error) and "lower max_packet_size" in str(error)
    least = "33554688"
    load({"GMQTT_LIMITS__MAX_QUEUED_BYTES": least, "GMQTT_LIMITS__NODE_BYTES": least})
    error = refusal({"GMQTT_LIMITS__NODE_BYTES": "1000000"})
    assert (error.key, error.where) == ("limits.node_bytes", "environment variable GMQTT_LIMITS__NODE_BYTES")
    assert "lower max_packet_size" in str(error)
