"""nginx and HAProxy in front of a node, with the configuration files that are shipped."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from gmqtt_platform.config.loader import ROOT
from tests.wire.certs import Certificates
from tests.wire.nodes import until
from tests.wire.programs import find

NGINX = """
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
    upstream web_nodes {{ server 127.0.0.1:{node}; }}
    {shipped}
}}
"""


def free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Front:
    """A running proxy; its ports by what they speak."""

    process: subprocess.Popen[bytes]
    log: Path
    ports: dict[str, int] = field(default_factory=dict)

    def wait(self) -> None:
        """Until it listens."""
        until(lambda: self.process.poll() is not None or all(map(answers, self.ports.values())), 30)
        assert self.process.poll() is None, self.log.read_text()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(15)


def _start(directory: Path, name: str, command: list[str], ports: dict[str, int]) -> Front:
    log = directory / f"{name}.log"
    with log.open("wb") as output:
        front = Front(subprocess.Popen(command, stdout=output, stderr=output), log, ports)
    front.wait()
    return front


def nginx(directory: Path, certificates: Certificates, http: int, name: str = "localhost") -> Front:
    """The shipped server block before a node's HTTP port: TLS ends there. Its port: "wss"."""
    (port,) = free_ports(1)
    shipped = (ROOT / "conf" / "nginx.conf").read_text()
    block = shipped[shipped.index("    map $http_upgrade") : shipped.index("\nstream {")].rstrip()
    block = block.removesuffix("}").replace("listen [::]:443 ssl;", "")
    block = block.replace("listen 443 ssl", f"listen 127.0.0.1:{port} ssl").replace("mqtt.example.com", name)
    block = re.sub(r"ssl_certificate \S+;", f"ssl_certificate {certificates.server};", block)
    block = re.sub(r"ssl_certificate_key \S+;", f"ssl_certificate_key {certificates.server_key};", block)
    conf = directory / "nginx.conf"
    conf.write_text(NGINX.format(directory=directory, node=http, shipped=block))
    return _start(directory, "nginx", [find("nginx"), "-c", str(conf), "-p", str(directory)], {"wss": port})


def haproxy(directory: Path, certificates: Certificates, tcp: int, tls: int, http: int) -> Front:
    """The shipped file before one node, with TLS for the web, too. Ports: "tcp", "tls", "ws" and "wss"."""
    names = ("tcp", "tls", "ws", "wss")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    both = directory / "haproxy.pem"
    both.write_text(certificates.server.read_text() + certificates.server_key.read_text())
    text = (ROOT / "conf" / "haproxy.cfg").read_text()
    text = "\n".join(line for line in text.splitlines() if "server node-b" not in line) + "\n"
    for old, new in (
        ("bind :1883", f"bind 127.0.0.1:{ports['tcp']}"),
        ("bind :8883", f"bind 127.0.0.1:{ports['tls']}"),
        ("bind :80\n", f"bind 127.0.0.1:{ports['ws']}\n    bind 127.0.0.1:{ports['wss']} ssl crt {both}\n"),
        ("127.0.0.1:11883 port 8000", f"127.0.0.1:{tcp} port {http}"),
        ("127.0.0.1:18883 port 8000", f"127.0.0.1:{tls} port {http}"),
        ("127.0.0.1:8000", f"127.0.0.1:{http}"),
        ("maxconn 200000", "maxconn 500"),  # the machine's limit of open files may be low
        ("inter 2s", "inter 200ms"),  # how soon it sees that the node is back
    ):
        assert old in text, f"conf/haproxy.cfg has no {old!r} any more"
        text = text.replace(old, new)
    conf = directory / "haproxy.cfg"
    conf.write_text(text)
    return _start(directory, "haproxy", [find("haproxy"), "-db", "-f", str(conf)], ports)
