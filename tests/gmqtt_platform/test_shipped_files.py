"""The configuration files that are shipped beside conf.toml can be used as they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from apps.cluster.bridge import build
from gmqtt_platform.config.loader import ROOT, ConfError, load
from tests.wire import certs
from tests.wire.programs import find, needs


def test_a_cluster() -> None:
    conf = load({"GMQTT_CONF": str(ROOT / "conf" / "conf.cluster.toml")})
    assert conf.broker.provider == "kafka" and conf.cluster.enabled
    assert conf.database.url.startswith("postgresql://")


def test_kafka_needs_a_cluster() -> None:
    with pytest.raises(ConfError) as caught:
        load({"GMQTT_BROKER__PROVIDER": "kafka"})
    assert caught.value.key == "cluster.enabled"


@needs("haproxy")
def test_haproxy_takes_its_file(tmp_path: Path) -> None:
    made = certs.make(tmp_path)
    both, conf = tmp_path / "both.pem", tmp_path / "haproxy.cfg"
    both.write_bytes(made.server.read_bytes() + made.server_key.read_bytes())
    shipped = (ROOT / "conf" / "haproxy.cfg").read_text()
    conf.write_text(shipped.replace("/etc/ssl/mqtt.example.com.pem", str(both)))
    command = [find("haproxy"), "-c", "-f", str(conf)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


@pytest.mark.parametrize(
    ("options", "key", "found"),
    [
        ('{"no.such.option": "x"}', "broker.kafka.options.no.such.option", "an unknown option"),
        ('{"acks": "0"}', "broker.kafka.options.acks", "sets itself"),
        ('{"security.protocol": "s3cret"}', "broker.kafka.options.security.protocol", "cannot be used"),
    ],
)
def test_what_kafkas_client_does_not_take(options: str, key: str, found: str) -> None:
    environ = {
        "GMQTT_CONF": str(ROOT / "conf" / "conf.cluster.toml"),
        "GMQTT_BROKER__KAFKA__OPTIONS": options,
    }
    with pytest.raises(ConfError) as caught:
        build.kafka_conf(load(environ))
    assert caught.value.key == key and found in caught.value.found
    assert "s3cret" not in str(caught.value)
