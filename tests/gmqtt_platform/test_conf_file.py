from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path

import pytest

from gmqtt_platform.config.loader import ROOT, RULES, Conf, ConfError, load
from gmqtt_platform.config.values import Address


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def read(file: Path, text: str | bytes) -> Conf:
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load({"GMQTT_CONF": str(file)})


def test_the_delivered_file_states_the_defaults() -> None:
    assert load({}) == Conf()


def test_the_delivered_file_names_every_key() -> None:
    delivered = tomllib.loads((ROOT / "conf" / "conf.toml").read_text())
    tables = dict(delivered)
    for table, keys in delivered.items():
        tables |= {f"{table}.{key}": below for key, below in keys.items() if f"{table}.{key}" in RULES}
    named = {t: {key for key in keys if f"{t}.{key}" not in RULES} for t, keys in tables.items()}
    assert named == {t: set(r) for t, r in RULES.items()}


def test_options_of_a_library_are_taken_as_they_are(file: Path) -> None:
    options = read(
        file, "[broker.kafka.options]\nsasl.password = 's3cret'\n'log_level' = 3\na.b = true"
    ).broker.kafka
    assert options.options == {"sasl.password": "s3cret", "log_level": "3", "a.b": "true"}
    assert "s3cret" not in repr(options)
    said = load(
        {"GMQTT_CONF": str(file), "GMQTT_BROKER__KAFKA__OPTIONS": '{"acks.x": 1}'}
    ).broker.kafka.options
    assert said == {"acks.x": "1"}
    with pytest.raises(ConfError) as caught:
        load({"GMQTT_CONF": str(file), "GMQTT_BROKER__KAFKA__OPTIONS": "sasl.password=s3cret"})
    assert "s3cret" not in str(caught.value)


def test_an_empty_file_means_the_defaults(file: Path) -> None:
    assert read(file, "") == Conf()


def test_values_are_typed(file: Path) -> None:
    conf = read(
        file,
        """
        [node]
        name = "edge-1"
        data_dir = "/srv/gmqtt"
        [listeners]
        tcp = ["mqtt://localhost:0", "tcp://[0:0::1]:1884"]
        http = "[::1]:8001"
        trusted_proxies = ["10.0.0.0/8", "192.0.2.1"]
        [limits]
        max_packet_size = 268_435_460
        max_queued_bytes = 1_000_000_000
        """,
    )
    assert conf.node.name == "edge-1"
    assert conf.node.data_dir == Path("/srv/gmqtt")
    assert conf.listeners.tcp == (Address("mqtt", "localhost", 0), Address("tcp", "::1", 1884))
    assert conf.listeners.http == Address("http", "::1", 8001)
    assert conf.listeners.https is None
    assert conf.listeners.trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("192.0.2.1/32"),
    )
    assert conf.limits.max_packet_size == 268_435_460


def test_addresses_read_as_they_are_written() -> None:
    assert str(Address("mqtts", "::1", 8883)) == "mqtts://[::1]:8883"
    assert str(Address("tcp", "127.0.0.1", 1883)) == "tcp://127.0.0.1:1883"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:192.0.2.1", False),
        ("192.0.2.1", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert Address("tcp", host, 1).is_loopback is loopback


REFUSED = [
    # text, key, found, a part of what is allowed, hint
    ("[broker.kafka]\ntopics = ['default']", "broker.kafka.topics", '"default"', "not", ""),
    ("[broker.kafka]\ntopics = ['a/b']", "broker.kafka.topics", '"a/b"', "letters, digits", ""),
    ("[broker.kafka]\ntopics = ['a', 'a']", "broker.kafka.topics", "the same level twice", "once", ""),
    (
        "[broker.kafka]\nbootstrap_servers = ['kafka:0']",
        "broker.kafka.bootstrap_servers", '"kafka:0"', "host:port", "",
    ),
    (
        "[broker]\nprovider = 'kafka'\nkafka.bootstrap_servers = []",
        "broker.kafka.bootstrap_servers", "[]", "at least one", "",
    ),
    (
        f"[broker.kafka]\nbridge_socket = '/{'x' * 100}'",
        "broker.kafka.bridge_socket", f'"/{"x" * 100}"', "at most 100 bytes", "",
    ),
    ("[broker.kafka.options]\n'sasl.password' = ['x']", "broker.kafka.options", "a dict", "JSON", ""),
    ("[listner]", "listner", "an unknown table", "listeners", "did you mean listeners?"),
    ("[zzz]", "zzz", "an unknown table", "node, listeners, http, limits", ""),
    ("log = 5", "log", "5", "a table, written as [log]", ""),
    ("[[log]]", "log", "[{}]", "a table, written as [log]", ""),
    (
        "[limits]\nmax_paket_size = 1",
        "limits.max_paket_size", "an unknown key", "max_packet_size", "max_packet_size",
    ),
    (
        "[limits]\nmax_packet_size = '1'",
        "limits.max_packet_size", '"1"', "an integer from 16 to 268435460", "",
    ),
    ("[limits]\nmax_packet_size = true", "limits.max_packet_size", "true", "an integer", ""),
    ("[limits]\nmax_packet_size = 1e6", "limits.max_packet_size", "1000000.0", "an integer", ""),
    ("[limits]\nmax_packet_size = 2024-01-01", "limits.max_packet_size", '"2024-01-01"', "an integer", ""),
    ("[limits]\nmax_packet_size = 15", "limits.max_packet_size", "15", "from 16", ""),
    ("[limits]\nmax_packet_size = 268435461", "limits.max_packet_size", "268435461", "to 268435460", ""),
    ("[limits]\nreceive_maximum = 0", "limits.receive_maximum", "0", "from 1 to 65535", ""),
    (
        "[limits]\nqueue_full_policy = 'drop'",
        "limits.queue_full_policy", '"drop"', "drop_newest | drop_oldest", "",
    ),
    (
        "[limits]\nmin_keepalive = 9\nmax_keepalive = 8",
        "limits.min_keepalive", "9", "limits.max_keepalive, 8", "",
    ),
    ("[auth]\nallow_anonymous = 1", "auth.allow_anonymous", "1", "true or false", ""),
    ("[auth]\nallow_anonymous = 'true'", "auth.allow_anonymous", '"true"', "true or false", ""),
    ("[auth]\nclient = 'mock'", "auth.client", '"mock"', "a list of one or more of: mock", ""),
    ("[auth]\nclient = []", "auth.client", "[]", "a list of one or more of: mock", ""),
    ("[auth]\nclient = ['mock', 'nobody']", "auth.client", '"nobody"', "a list of one or more of: mock", ""),
    ("[auth]\nacl = [['mock']]", "auth.acl", '["mock"]', "a list of one or more of: mock", ""),
    ("[auth]\nmock = 'yes'", "auth.mock", '"yes"', "success | failure", ""),
    ("[broker]\nprovider = 'kafkaa'", "broker.provider", '"kafkaa"', "mock | kafka", ""),
    ("[sessions]\nprovider = 'mysql'", "sessions.provider", '"mysql"', "sqlite | mock | redis", ""),
    ("[log]\nlevel = 'INFO'", "log.level", '"INFO"', "debug | info | warning | error", ""),
    ("[log]\nlevel = {a = 1}", "log.level", "a table", "debug | info", ""),
    ("[node]\nname = 'a b'", "node.name", '"a b"', "letters, digits", ""),
    ("[node]\ndata_dir = ''", "node.data_dir", '""', "the path of a directory", ""),
    ('[node]\ndata_dir = "a\\u0000b"', "node.data_dir", '"a\\u0000b"', "the path of a directory", ""),
    (
        "[listeners]\ntcp = 'tcp://127.0.0.1:1'",
        "listeners.tcp", '"tcp://127.0.0.1:1"', "a list, each item tcp://", "",
    ),
    ("[listeners]\nwebsocket_path = 'mqtt'", "listeners.websocket_path", '"mqtt"', '"/mqtt"', ""),
    ("[listeners]\nwebsocket_origins = ['a.b']", "listeners.websocket_origins", '"a.b"', "https://", ""),
    ("[listeners]\nwebsocket_origins = ['h://a']", "listeners.websocket_origins", '"h://a"', "https://", ""),
    ("[listeners]\nwebsocket_path = '/m?a'", "listeners.websocket_path", '"/m?a"', '"/mqtt"', ""),
    (
        "[listeners]\ntrusted_proxies = ['10.0.0.1/8']",
        "listeners.trusted_proxies", '"10.0.0.1/8"', "no bits set", "",
    ),
    ("[listeners]\ntrusted_proxies = [7]", "listeners.trusted_proxies", "7", "a network", ""),
    ("[redis]\nurl = 'http://127.0.0.1'", "redis.url", '"http://127.0.0.1"', "redis://host:port/db", ""),
    (
        "[redis]\nurl = 'redis://127.0.0.1:x'",
        "redis.url", '"redis://127.0.0.1:x"', "redis://host:port/db", "",
    ),
    (
        "[database]\nurl = 'mysql://db/x'",
        "database.url", '"mysql://db/x"', "postgresql://user:password@host:port", "",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key", "found", "allowed", "hint"), REFUSED, ids=[row[0] for row in REFUSED]
)
def test_refused(file: Path, text: str, key: str, found: str, allowed: str, hint: str) -> None:
    with pytest.raises(ConfError) as caught:
        read(file, text)
    error = caught.value
    assert (error.where, error.key, error.found) == (str(file), key, found)
    assert allowed in error.allowed
    assert hint in error.hint
    assert bool(hint) == bool(error.hint)
    assert str(error).startswith(f"{file}: {key}: found {found}; allowed: {error.allowed}")


BAD_ADDRESSES = [
    "127.0.0.1:1883",
    "http://127.0.0.1:1883",
    "mqtts://127.0.0.1:1883",
    "tcp://127.0.0.1",
    "tcp://:1883",
    "tcp://127.0.0.1:",
    "tcp://127.0.0.1:x",
    "tcp://127.0.0.1:-1",
    "tcp://127.0.0.1:65536",
    "tcp://127.0.0.1:99999999999",
    "tcp://127.0.0.1:1883/",
    "tcp://127.0.0.256:1883",
    "tcp://127.0.1:1883",
    "tcp://::1:1883",
    "tcp://[::g]:1883",
    "tcp://[127.0.0.1]:1883",
    "tcp://user@localhost:1883",
    "tcp://bad host:1883",
    "tcp://-a:1883",
    " tcp://127.0.0.1:1883",
    "tcp://127.0.0.1:１",
    "",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_malformed_address(file: Path, address: str) -> None:
    with pytest.raises(
        ConfError, match=r"listeners\.tcp: found .*; allowed: a list, each item tcp://host:port"
    ):
        read(file, f"[listeners]\ntcp = ['tcp://127.0.0.1:1', '{address}']")


@pytest.mark.parametrize("address", ["http://127.0.0.1:80", "8000", "127.0.0.1", "[::1]", "[::1]:80:80"])
def test_malformed_http_address(file: Path, address: str) -> None:
    with pytest.raises(ConfError, match=r'listeners\.http: found .*; allowed: "" or host:port'):
        read(file, f"[listeners]\nhttp = '{address}'")


@pytest.mark.parametrize("scheme", ["mqtts", "tls", "ssl"])
def test_schemes_of_tls(file: Path, scheme: str, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    address = f"{scheme}://127.0.0.1:0"
    conf = read(file, f"[listeners]\ntls = ['{address}']\ntls_cert = '{cert}'\ntls_key = '{key}'")
    assert str(conf.listeners.tls[0]) == address


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"[node", "Expected ']'"),
        (b"[node]\nname = 'a'\nname = 'b'", "Cannot overwrite"),
        (b"[node]\nname = '\xff'", "utf-8"),
        (b"a = " + b"[" * 100_000, "nested"),
        (b"a = " + b"9" * 10_000, "digits"),
    ],
)
def test_what_is_not_toml(file: Path, content: bytes, found: str) -> None:
    with pytest.raises(ConfError) as caught:
        read(file, content)
    assert str(caught.value).startswith(f"{file}: found ")
    assert found in caught.value.found
    assert "TOML" in caught.value.allowed


def test_no_such_file(tmp_path: Path) -> None:
    for path, found in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfError, match=found):
            load({"GMQTT_CONF": str(path)})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:s3cret@db:port/name",
        "mysql://ada:s3cret@db/name",
        "ada:s3cret@db",
        "postgresql://ada:s3@s3cret@db:x/name",
        "mysql://db/name?user=ada&password=s3cret",
    ],
)
def test_a_refused_url_is_shown_without_its_password(file: Path, url: str) -> None:
    with pytest.raises(ConfError) as caught:
        read(file, f"[database]\nurl = '{url}'")
    assert "db" in caught.value.found
    assert "s3" not in str(caught.value)


def test_a_url_that_may_hold_a_password_is_not_in_the_repr(file: Path) -> None:
    conf = read(file, "[database]\nurl = 'postgresql://ada:s3cret@db/name'")
    assert conf.database.url.endswith("@db/name")
    assert "s3cret" not in repr(conf)


def test_a_table_of_an_earlier_version_is_ignored_and_said(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(file, "[topics]\nprovider = 'mem'\n[limits]\nmax_sessions = 5").limits.max_sessions == 5
    assert "[topics] has no effect, delete it" in caplog.text
    load({"GMQTT_CONF": str(file), "GMQTT_TOPICS__PROVIDER": "mem"})
    assert "GMQTT_TOPICS__PROVIDER has no effect" in caplog.text
