"""The compose files name what exists: configuration keys, files, volumes, secrets, services, ports."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from apps.cluster.bridge import build
from gmqtt_platform import command
from gmqtt_platform.config.loader import ROOT, load
from tests.packaging.settings import image_settings
from tests.wire.programs import find, needs

HERE = ROOT / "deploy" / "compose"
FILES = ("compose.yaml", "compose.cluster.yaml")
SECRETS = ("secret_key", "database_url", "metrics_token", "postgres_password", "grafana_password")


def read(name: str) -> dict[str, Any]:
    """The file with merge keys and ${VARIABLE:-default} as Compose reads them, without variables set."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (HERE / name).read_text())
    made: dict[str, Any] = yaml.safe_load(text)
    return made


@pytest.mark.parametrize("file", FILES)
def test_the_specification_of_compose_allows_it(file: str) -> None:
    made = read(file)
    PyCompose.from_json(json.dumps(made)).validate()
    made["services"]["node" if "node" in made["services"] else "node-a"]["cap_dorp"] = []
    with pytest.raises(ValueError, match="cap_dorp"):
        PyCompose.from_json(json.dumps(made))


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    shutil.copy(HERE / "make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True)
    return tmp_path / "secrets"


def roles() -> list[tuple[str, str]]:
    return [
        (file, name)
        for file in FILES
        for name, service in read(file)["services"].items()
        if "gmqtt" in service["image"]
    ]


@pytest.mark.parametrize(("file", "name"), roles())
def test_a_role_starts_with_its_environment(file: str, name: str, secrets: Path) -> None:
    environ = image_settings() | read(file)["services"][name].get("environment", {})
    conf = load({key: value.replace("/run/secrets", str(secrets)) for key, value in environ.items()})
    if file == "compose.cluster.yaml":
        build.kafka_conf(conf)
        assert conf.cluster.enabled and conf.console.metrics_token
        assert str(conf.broker.kafka.bridge_socket).startswith("/bridge/")


@pytest.mark.parametrize(("file", "name"), roles())
def test_the_image_knows_the_command(file: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image's entry point with the service's command: what is started, without starting it."""
    assert 'ENTRYPOINT ["gmqtt"]' in (ROOT / "Dockerfile").read_text()
    given = read(file)["services"][name]["command"]
    started: list[str] = []
    monkeypatch.setattr(command.os, "execv", lambda program, words: started.extend(words))
    monkeypatch.setattr(command, "run_node", lambda options: started.append(f"node {options.no_prepare}"))
    command.run(given)
    if given[0] == "run":
        assert started == [f"node {'--no-prepare' in given}"]
    else:
        assert "--bridge" in started


@pytest.mark.parametrize(("file", "name"), roles())
def test_the_console_is_reached_from_outside(file: str, name: str) -> None:
    environ = read(file)["services"][name].get("environment", {})
    conf = load({key: value for key, value in environ.items() if key.startswith("GMQTT_HTTP__")})
    assert conf.http.public_urls == ("http://localhost:8000",)


def test_secrets_are_made_once(secrets: Path) -> None:
    before = {path.name: path.read_text() for path in secrets.iterdir()}
    assert sorted(before) == sorted(SECRETS) and all(len(value) >= 32 for value in before.values())
    subprocess.run([secrets.parent / "make-secrets"], check=True)
    assert before == {path.name: path.read_text() for path in secrets.iterdir()}
    assert before["postgres_password"] in before["database_url"]


@pytest.mark.parametrize("file", FILES)
def test_what_is_referred_to_is_there(file: str) -> None:
    compose = read(file)
    services = compose["services"]
    for name, service in services.items():
        for needed in service.get("depends_on", {}):
            assert needed in services
            if service["depends_on"][needed]["condition"] == "service_healthy":
                assert "healthcheck" in services[needed] or "gmqtt" in services[needed]["image"], name
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (HERE / source).exists() if source.startswith(".") else source in compose["volumes"]
    named = {Path(secret["file"]).name for secret in compose.get("secrets", {}).values()}
    assert named == (set(SECRETS) if "secrets" in compose else set())


def test_the_front_is_the_proxy_that_the_nodes_trust() -> None:
    compose = read("compose.cluster.yaml")
    front = compose["services"]["haproxy"]["networks"]["inside"]["ipv4_address"]
    trusted = compose["services"]["node-a"]["environment"]["GMQTT_LISTENERS__TRUSTED_PROXIES"]
    assert trusted == f"{front}/32"


def test_prometheus_and_grafana_find_each_other() -> None:
    jobs = read("prometheus/prometheus.yml")["scrape_configs"]
    assert jobs[0]["static_configs"][0]["targets"] == ["node-a:8000", "node-b:8000"]
    (source,) = read("grafana/datasource.yaml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    dashboards = [json.loads(path.read_text()) for path in (ROOT / "conf" / "grafana").glob("*.json")]
    assert dashboards and source["type"] in json.dumps(dashboards)


@needs("haproxy")
def test_haproxy_takes_its_file() -> None:
    command = [find("haproxy"), "-c", "-f", str(HERE / "haproxy.cfg")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
