from __future__ import annotations

from pathlib import Path

import pytest

from gmqtt_platform.config.loader import Conf, ConfError, load
from gmqtt_platform.config.values import Address


def test_every_kind_of_value() -> None:
    conf = load(
        {
            "GMQTT_LISTENERS__TCP": "tcp://127.0.0.1:18901, tcp://[::1]:18901",
            "GMQTT_LISTENERS__HTTP": "127.0.0.1:18080",
            "GMQTT_LISTENERS__REUSE_PORT": "true",
            "GMQTT_LIMITS__CONNECT_TIMEOUT": "3",
            "GMQTT_NODE__DATA_DIR": "/srv/gmqtt",
            "GMQTT_LOG__FORMAT": "json",
        }
    )
    assert conf.listeners.tcp == (Address("tcp", "127.0.0.1", 18901), Address("tcp", "::1", 18901))
    assert conf.listeners.http == Address("http", "127.0.0.1", 18080)
    assert conf.listeners.reuse_port is True
    assert conf.limits.connect_timeout == 3
    assert conf.node.data_dir == Path("/srv/gmqtt")
    assert conf.log.format == "json"


def test_an_empty_list_and_an_empty_address_close_the_listeners() -> None:
    conf = load({"GMQTT_LISTENERS__TCP": "", "GMQTT_LISTENERS__HTTP": ""})
    assert conf.listeners.tcp == ()
    assert conf.listeners.http is None


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("[limits]\nconnect_timeout = 3\nmax_subscriptions = 7\n")
    conf = load({"GMQTT_CONF": str(file), "GMQTT_LIMITS__CONNECT_TIMEOUT": "4"})
    assert (conf.limits.connect_timeout, conf.limits.max_subscriptions) == (4, 7)


def test_other_variables_are_nobodys_business() -> None:
    others = {"GMQTT_PURE_PYTHON": "1", "GMQTT_NODE_PORT": "tcp://10.0.0.1:1", "MY_GMQTT_NODE__NAME": "!"}
    assert load(others) == Conf()


@pytest.mark.parametrize(
    ("name", "value", "found", "allowed", "hint"),
    [
        ("GMQTT_LIMITS__CONNECT_TIMEOUT", "soon", '"soon"', "an integer from 1 to 3600", ""),
        ("GMQTT_LIMITS__CONNECT_TIMEOUT", "", '""', "an integer from 1 to 3600", ""),
        ("GMQTT_LIMITS__CONNECT_TIMEOUT", "0", '"0"', "an integer from 1 to 3600", ""),
        ("GMQTT_LIMITS__CONNECT_TIMEOUT", "9" * 5000, '"999', "an integer from 1 to 3600", ""),
        ("GMQTT_LISTENERS__REUSE_PORT", "yes", '"yes"', "true or false", ""),
        ("GMQTT_LOG__LEVEL", "loud", '"loud"', "debug | info", ""),
        ("GMQTT_AUTH__ACL", "mock,nobody", '"nobody"', "one or more of: mock", ""),
        ("GMQTT_AUTH__CLIENT", "", '""', "one or more of: mock", ""),
        ("GMQTT_LISTENERS__TCP", "tcp://127.0.0.1:1,nonsense", '"nonsense"', "tcp://host:port", ""),
        ("GMQTT_LISTENERS__TCPS", "", "an unknown key", "GMQTT_LISTENERS__TLS", "mean GMQTT_LISTENERS__TCP?"),
        ("GMQTT_LISTENER__TCP", "", "an unknown key", "GMQTT_LISTENERS__TCP", "mean GMQTT_LISTENERS__TCP?"),
        ("GMQTT_NODE__NAM", "a", "an unknown key", "GMQTT_NODE__NAME", "mean GMQTT_NODE__NAME?"),
        ("GMQTT_NODE__name", "a", "an unknown key", "GMQTT_NODE__NAME", ""),
        ("GMQTT_LIMITS__X", "a", "an unknown key", "GMQTT_LIMITS__NODE_BYTES", ""),
        ("GMQTT___", "a", "an unknown key", "GMQTT_NODE__NAME", ""),
    ],
)  # fmt: skip
def test_refused(name: str, value: str, found: str, allowed: str, hint: str) -> None:
    with pytest.raises(ConfError) as caught:
        load({name: value})
    error = caught.value
    assert error.where == f"environment variable {name}"
    assert error.found.startswith(found)
    assert len(error.found) <= 120
    assert allowed in error.allowed
    assert hint in error.hint
    assert bool(hint) == bool(error.hint)


def test_a_password_is_not_shown() -> None:
    with pytest.raises(ConfError) as caught:
        load({"GMQTT_REDIS__URL": "http://:s3cret@cache/0"})
    assert caught.value.found == '"http://***@cache/0"'


def test_a_value_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:s3cret@cache/0\n")
    conf = load({"GMQTT_REDIS__URL_FILE": str(file)})
    assert conf.redis.url == "redis://:s3cret@cache/0"
    assert conf.variables["redis.url"] == "GMQTT_REDIS__URL_FILE"


def test_a_key_that_ends_with_file_is_not_a_secret_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"keys": []}')
    conf = load({"GMQTT_AUTH__JWT__JWKS_FILE": str(tmp_path / "keys.json")})
    assert conf.auth.jwt.jwks_file == tmp_path / "keys.json"


@pytest.mark.parametrize("name", ["GMQTT_REDIS__URL", "GMQTT_DATABASE__URL", "GMQTT_CONSOLE__METRICS_TOKEN"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfError) as caught:
        load({f"{name}_FILE": str(tmp_path / "missing")})
    assert caught.value.where == f"environment variable {name}_FILE"
    assert "No such file" in caught.value.found


def test_what_a_file_says_is_checked_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("http://:s3cret@cache/0")
    with pytest.raises(ConfError) as caught:
        load({"GMQTT_REDIS__URL_FILE": str(file)})
    assert caught.value.where == "environment variable GMQTT_REDIS__URL_FILE"
    assert "s3cret" not in str(caught.value)


def test_a_value_and_its_file_together(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.touch()
    with pytest.raises(ConfError, match="one of the two"):
        load({"GMQTT_REDIS__URL": "redis://a/0", "GMQTT_REDIS__URL_FILE": str(file)})
