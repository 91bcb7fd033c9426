"""The Helm chart over a matrix of values: lint, Kubernetes' schemas, the configuration of every container.

helm is looked for in PATH and in build/bin, where `make helm` puts it. In CI the tests fail without it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from apps.cluster.bridge import build
from gmqtt_platform import __version__
from gmqtt_platform.config.loader import ROOT, load
from tests.packaging.settings import image_settings

CHART = ROOT / "deploy" / "helm" / "gmqtt"
HELM = shutil.which("helm", path=os.environ["PATH"] + os.pathsep + str(ROOT / "build" / "bin"))
KUBERNETES = ("1.29.0", kubernetes_validate.latest_version())
CLUSTER = {
    "cluster": {"enabled": True},
    "replicas": 3,
    "secretKey": {"existingSecret": "gmqtt"},
    "database": {"existingSecret": "gmqtt"},
    "redis": {"existingSecret": "redis"},
    "kafka": {"bootstrapServers": ["kafka-0:9093", "kafka-1:9093"], "topics": ["telemetry"]},
}
SASL = {"kafka": {**CLUSTER["kafka"], "options": {"existingSecret": "kafka"}}}  # type: ignore[dict-item]
EVERYTHING = {
    **CLUSTER,
    **SASL,
    "imagePullSecrets": [{"name": "registry"}],
    "tls": {"existingSecret": "tls"},
    "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/gmqtt/ca", "readOnly": True}],
    "env": {"GMQTT_LIMITS__MAX_CONNECTIONS": 50000},
    "autoscaling": {"enabled": True},
    "service": {"type": "LoadBalancer", "annotations": {"a": "b"}},
    "persistence": {"storageClass": "fast"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"a": "b"},
    "tolerations": [{"key": "a", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "metrics": {
        "token": {"existingSecret": "gmqtt"},
        "serviceMonitor": {"enabled": True, "labels": {"a": "b"}},
    },
    "secretKeyFallbacks": {"existingSecret": "gmqtt"},
    "http": {"publicUrls": ["https://ops.example.com"], "trustedProxies": ["10.1.0.0/16"]},
    "ingress": {"enabled": True, "host": "mqtt.example.com", "tlsSecret": "web", "className": "nginx"},
    "networkPolicy": {
        "mqttFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "httpFrom": [{"podSelector": {}}],
        "egress": [{"ports": [{"port": 9093}]}],
    },
}
MATRIX = {
    "defaults": {},
    "one-with-postgresql": {"database": {"existingSecret": "db"}},
    "cluster": CLUSTER,
    "cluster-sasl": {**CLUSTER, **SASL},
    "no-policy": {"networkPolicy": {"enabled": False}, "podDisruptionBudget": {"enabled": False}},
    "everything": EVERYTHING,
}
OPTIONS = {
    "security.protocol": "SASL_SSL",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "gmqtt",
    "sasl.password": "p",
}
KINDS = {"StatefulSet", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceMonitor", "Job"}
KINDS |= {"Ingress", "NetworkPolicy"}


@pytest.fixture(autouse=True)
def helm_is_there() -> None:
    if HELM is None:
        reason = "helm is not installed; `make helm` builds it, which takes minutes"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


def helm(*arguments: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    assert HELM is not None
    return subprocess.run(
        [HELM, *arguments, "--values", "-"], input=json.dumps(values), capture_output=True, text=True
    )


def manifests(values: dict[str, Any], version: str = KUBERNETES[-1]) -> list[dict[str, Any]]:
    done = helm("template", "edge", str(CHART), "--kube-version", version, values=values)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def containers(values: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each container of the manifests and its pod."""
    pods = [made["spec"]["template"]["spec"] for made in manifests(values) if "template" in made["spec"]]
    return [(each, pod) for pod in pods for each in (*pod.get("initContainers", []), *pod["containers"])]


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", MATRIX)
def test_manifests_are_what_kubernetes_takes(name: str, version: str) -> None:
    for made in manifests(MATRIX[name], version):
        if made["kind"] != "ServiceMonitor":  # a custom resource
            kubernetes_validate.validate(made, version, strict=True)


@pytest.mark.parametrize("name", MATRIX)
def test_lint(name: str) -> None:
    version = ("--kube-version", KUBERNETES[-1])
    done = helm("lint", "--strict", *version, str(CHART), values=MATRIX[name])
    assert done.returncode == 0, done.stdout


def test_everything_is_made() -> None:
    assert {made["kind"] for made in manifests(EVERYTHING)} == KINDS


def test_the_version_is_the_platforms() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


@pytest.mark.parametrize("name", MATRIX)
def test_containers_start_with_their_environment(name: str, tmp_path: Path) -> None:
    secrets = {
        "secret_key": "k" * 40,
        "secret_key_fallbacks": "o" * 40,
        "database_url": "postgresql://gmqtt:p@db/gmqtt",
        "redis_url": "rediss://:p@redis:6380/0",
        "metrics_token": "t" * 32,
        "kafka_options": json.dumps(OPTIONS),
    }
    for path, text in secrets.items():
        (tmp_path / path).write_text(text)
    for container, pod in containers(MATRIX[name]):
        environ = image_settings() | {each["name"]: each.get("value", "edge-0") for each in container["env"]}
        for variable, value in environ.items():
            if variable.startswith("GMQTT_") and value.startswith("/run/gmqtt/"):
                assert value.removeprefix("/run/gmqtt/") in mounted(pod)
        for variable in [each for each in environ if each.startswith("GMQTT_LISTENERS__TLS")]:
            del environ[variable]  # there is no certificate here
        conf = load({key: value.replace("/run/gmqtt", str(tmp_path)) for key, value in environ.items()})
        if conf.cluster.enabled:
            build.kafka_conf(conf)


def mounted(pod: dict[str, Any]) -> set[str]:
    """Files of the projected volume."""
    (volume,) = [each["projected"] for each in pod["volumes"] if "projected" in each]
    items = [item for each in volume["sources"] for kind in each.values() for item in kind["items"]]
    return {item["path"] for item in items}


def test_people_reach_the_console_by_the_ingress() -> None:
    for container, _ in containers(EVERYTHING):
        environ = {each["name"]: each.get("value", "edge-0") for each in container["env"]}
        conf = load({key: value for key, value in environ.items() if key.startswith("GMQTT_HTTP__")})
        assert conf.http.public_urls == ("https://ops.example.com", "https://mqtt.example.com")
        assert [str(each) for each in conf.http.trusted_proxies] == ["10.1.0.0/16"]
    for container, _ in containers({}):
        assert not [each for each in container["env"] if each["name"].startswith("GMQTT_HTTP__")]


@pytest.mark.parametrize("name", MATRIX)
def test_nobody_is_root_and_nothing_is_written_outside_volumes(name: str) -> None:
    for container, pod in containers(MATRIX[name]):
        assert pod["securityContext"]["runAsNonRoot"] and pod["automountServiceAccountToken"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_node_and_its_bridge_share_the_socket() -> None:
    (bridge, pod), (node, _) = (pair for pair in containers(CLUSTER) if pair[0]["name"] in ("bridge", "node"))
    socket = Path(image_settings()["GMQTT_BROKER__KAFKA__BRIDGE_SOCKET"])
    for container in (bridge, node):
        assert {"name": "bridge", "mountPath": str(socket.parent)} in container["volumeMounts"]
    assert {"name": "bridge", "emptyDir": {}} in pod["volumes"]
    assert bridge["restartPolicy"] == "Always"  # a sidecar, which outlives the node


@pytest.mark.parametrize(
    ("values", "remedy"),
    [
        ({"replicas": 2}, "cluster.enabled=true"),
        ({"autoscaling": {"enabled": True}}, "cluster.enabled=true"),
        ({**CLUSTER, "redis": {"existingSecret": ""}}, "redis.existingSecret"),
        ({**CLUSTER, "secretKey": {"existingSecret": ""}}, "secretKey.existingSecret"),
        ({**CLUSTER, "kafka": {"bootstrapServers": []}}, "kafka.bootstrapServers"),
        ({"metrics": {"serviceMonitor": {"enabled": True}}}, "metrics.token.existingSecret"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
    ],
)
def test_values_that_cannot_work_are_refused(values: dict[str, Any], remedy: str) -> None:
    done = helm("template", "edge", str(CHART), "--kube-version", KUBERNETES[-1], values=values)
    assert done.returncode != 0 and remedy in done.stderr
