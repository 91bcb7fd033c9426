"""[auth] and its sub-tables: where values come from, and what fits together."""

from __future__ import annotations

from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ConfError, load

RPC = {"GMQTT_AUTH__CLIENT": "rpc", "GMQTT_AUTH__RPC__ACCESS_KEY": "k", "GMQTT_AUTH__RPC__SECRET": "s"}
JWT = {"GMQTT_AUTH__CLIENT": "jwt", "GMQTT_AUTH__JWT__SECRET": "x" * 32}


def test_sub_tables_come_from_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[auth]\nclient = ['django']\n[auth.guard]\nwindow = 7\nban_seconds = 8\n")
    conf = load({"GMQTT_CONF": str(file), "GMQTT_AUTH__GUARD__WINDOW": "9"})
    assert conf.auth.client == ("django",)
    assert (conf.auth.guard.window, conf.auth.guard.ban_seconds) == (9, 8)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[auth.guard]\nwindows = 7", "auth.guard.windows"),
        ("[auth.guards]\nwindow = 7", "auth.guards"),
        ("[auth]\nguard = 7", "auth.guard"),
        ("[auth.guard]\nwindow = 0", "auth.guard.window"),
        ("[auth.service]\nclient = ['rpc']", "auth.service.client"),
    ],
)
def test_unknown_and_wrong_keys(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "node.toml"
    file.write_text(text)
    with pytest.raises(ConfError) as caught:
        load({"GMQTT_CONF": str(file)})
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"GMQTT_AUTH__CLIENT": "jwt"}, "auth.jwt.jwks_file"),
        (JWT | {"GMQTT_AUTH__JWT__SECRET": "short"}, "auth.jwt.secret"),
        (JWT | {"GMQTT_AUTH__JWT__ALGORITHMS": "ES256"}, "auth.jwt.algorithms"),
        (JWT | {"GMQTT_AUTH__JWT__JWKS_FILE": "/nonexistent"}, "auth.jwt.jwks_file"),
        (RPC | {"GMQTT_AUTH__RPC__SECRET": ""}, "auth.rpc.secret"),
        (RPC | {"GMQTT_AUTH__RPC__ACCESS_KEY": ""}, "auth.rpc.access_key"),
        (RPC | {"GMQTT_AUTH__RPC__TLS_CA": "/nonexistent"}, "auth.rpc.tls_ca"),
        (RPC | {"GMQTT_AUTH__DISCOVERY__ADDRESSES": ""}, "auth.discovery.addresses"),
        ({"GMQTT_AUTH__SERVICE__TLS_CERT": "x.pem"}, "auth.service.tls_key"),
        ({"GMQTT_AUTH__SERVICE__TLS_KEY": "x.pem"}, "auth.service.tls_cert"),
    ],
)
def test_what_does_not_fit_together(environ: dict[str, str], key: str) -> None:
    with pytest.raises(ConfError) as caught:
        load(environ)
    assert caught.value.key == key
    for secret in ("short", "GMQTT_AUTH__RPC__SECRET: s"):
        assert f'"{secret}"' not in str(caught.value)


def test_the_guard_knows_the_trusted_proxies() -> None:
    """It exempts them where they speak for themselves, and not those who come through them."""
    guard = load(
        {
            "GMQTT_LISTENERS__TRUSTED_PROXIES": "10.0.0.5",
            "GMQTT_HTTP__TRUSTED_PROXIES": "10.0.0.5,2001:db8::/64",
        }
    ).auth.guard
    assert [str(each) for each in guard.exempt] == ["127.0.0.0/8", "::1/128"]
    assert [str(each) for each in guard.proxies] == ["10.0.0.5/32", "2001:db8::/64"]


def test_secrets_are_not_shown() -> None:
    conf = load(
        JWT
        | RPC
        | {"GMQTT_AUTH__RPC__SECRET": "do-not-show", "GMQTT_AUTH__DISCOVERY__CONSUL_TOKEN": "nor-me"}
    )
    assert "x" * 32 not in repr(conf)
    assert "do-not-show" not in repr(conf)
    assert "nor-me" not in repr(conf)
