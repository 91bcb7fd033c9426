"""The real HAProxy and nginx with the files of conf/, on free ports of this machine."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gmqtt_platform.config.loader import ROOT
from tests.wire.certs import PUBLIC, Certificates
from tests.wire.nodes import Node, until
from tests.wire.programs import find

PORTS = (80, 443, 1883, 8883, 8884)  # of the files
_NODES = (("11883", "18883", "8000"), ("11884", "18884", "8001"))  # tcp, tls, http of node-a and node-b


@dataclass
class Proxy:
    """A proxy that listens."""

    plain: int  # HTTP
    https: int
    mqtt: int
    passed: int  # MQTT over TLS, to the nodes as it is
    ended: int  # MQTT over TLS, without TLS from here on
    process: subprocess.Popen[str]


def free_ports(count: int) -> list[int]:
    """On every address, IPv4 and IPv6."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            sock = stack.enter_context(socket.socket(socket.AF_INET6))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind(("::", 0))
            found.append(int(sock.getsockname()[1]))
        return found


def with_nodes(text: str, nodes: list[Node]) -> str:
    """The file with the nodes' ports; of servers that are not there the lines are left out."""
    for number, (tcp, tls, http) in enumerate(_NODES):
        if number < len(nodes):
            node = nodes[number]
            for shipped, port in ((tcp, node.tcp), (tls, node.tls), (http, node.ws)):
                text = re.sub(rf"(127\.0\.0\.1:|port ){shipped}\b", rf"\g<1>{port}", text)
        else:
            text = re.sub(rf"\n *server .*\b({tcp}|{tls}|127\.0\.0\.1:{http})\b.*", "", text)
    return text.replace("mqtt.example.com", PUBLIC)


@contextlib.contextmanager
def haproxy(
    nodes: list[Node], certificates: Certificates, directory: Path, extra: dict[str, str] | None = None
) -> Iterator[Proxy]:
    """`extra`: what is replaced in the file besides."""
    directory.mkdir(exist_ok=True)
    both = directory / "both.pem"
    both.write_bytes(certificates.server.read_bytes() + certificates.server_key.read_bytes())
    text = with_nodes((ROOT / "conf" / "haproxy.cfg").read_text(), nodes)
    text = text.replace(f"/etc/ssl/{PUBLIC}.pem", str(both)).replace("maxconn 200000", "maxconn 4000")
    for old, new in (extra or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    ports = free_ports(len(PORTS))
    for shipped, port in zip(PORTS, ports, strict=True):
        text = re.sub(rf"bind :::{shipped}\b", f"bind :::{port}", text)
    conf = directory / "haproxy.cfg"
    conf.write_text(text)
    with _running([find("haproxy"), "-db", "-f", str(conf)], directory, ports) as process:
        yield _proxy(ports, process)


NGINX_PATHS = """
    client_body_temp_path {0}/body; proxy_temp_path {0}/proxied; fastcgi_temp_path {0}/f;
    uwsgi_temp_path {0}/u; scgi_temp_path {0}/s; access_log off;
"""


@contextlib.contextmanager
def nginx(nodes: list[Node], certificates: Certificates, directory: Path) -> Iterator[Proxy]:
    directory.mkdir(exist_ok=True)
    text = with_nodes((ROOT / "conf" / "nginx.conf").read_text(), nodes)
    text = text.replace(f"/etc/ssl/{PUBLIC}.pem", str(certificates.server))
    text = text.replace(f"/etc/ssl/{PUBLIC}.key", str(certificates.server_key))
    text = text.replace("worker_processes auto", "worker_processes 1").replace("65536", "1000")
    ports = free_ports(len(PORTS))
    for shipped, port in zip(PORTS, ports, strict=True):
        text = re.sub(rf"listen (\[::\]:)?{shipped}\b", rf"listen \g<1>{port}", text)
    text = f"daemon off; pid {directory}/pid; error_log stderr;\n" + text
    text = text.replace("http {", "http {" + NGINX_PATHS.format(directory), 1)
    conf = directory / "nginx.conf"
    conf.write_text(text)
    with _running([find("nginx"), "-c", str(conf)], directory, ports) as process:
        yield _proxy(ports, process)


def _proxy(ports: list[int], process: subprocess.Popen[str]) -> Proxy:
    plain, https, mqtt, passed, ended = ports
    return Proxy(plain, https, mqtt, passed, ended, process)


@contextlib.contextmanager
def _running(command: list[str], directory: Path, ports: list[int]) -> Iterator[subprocess.Popen[str]]:
    with (directory / "stderr").open("w") as stderr:
        process = subprocess.Popen(command, stderr=stderr, stdout=stderr, text=True)
    try:
        until(lambda: process.poll() is not None or all(map(answers, ports)), 20)
        assert process.poll() is None, (directory / "stderr").read_text()
        yield process
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
