"""Finding instances of the auth service: one contract for every directory.

etcd is the real one. A Consul agent can be had neither from Debian nor as a Go module (its dependency
consul-awsauth is not in the checksum database), so for Consul this is a contract test of the documented HTTP
API: `ConsulAgent` implements the endpoints as https://developer.hashicorp.com/consul/api-docs describes them.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from apps.auth import discovery
from apps.auth.discovery import Directory, Membership
from apps.auth.discovery.base import DiscoveryUnavailable
from apps.auth.discovery.consul import ConsulDirectory
from apps.auth.discovery.etcd import EtcdDirectory
from apps.auth.discovery.static import StaticDirectory
from gmqtt_platform.config.loader import load
from tests.apps.auth.etcds import Etcd, free_port, required

TTL = 2  # seconds: the least that may be configured


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    required()
    server = Etcd(tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.stop()


class ConsulAgent(ThreadingHTTPServer):
    """What the documentation says of /v1/agent/service/register, deregister, check/pass and /v1/health."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.services: dict[str, dict[str, Any]] = {}
        self.passes: dict[str, float] = {}  # check id -> when it last passed
        self.tokens: set[str | None] = set()
        self.broken = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def passing(self, id: str) -> bool:
        ttl = float(self.services[id]["checks"][0]["ttl"].removesuffix("s"))
        return time.monotonic() - self.passes.get(f"service:{id}", float("-inf")) < ttl


class _Handler(BaseHTTPRequestHandler):
    server: ConsulAgent

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        agent, path = self.server, unquote(urlsplit(self.path).path)
        agent.tokens.add(self.headers.get("X-Consul-Token"))
        if agent.broken:
            return self._answer(500, "No cluster leader")
        if path == "/v1/agent/service/register":
            service = json.loads(body)
            assert service["checks"][0]["DeregisterCriticalServiceAfter"] == "1m"
            agent.services[service["id"]] = service  # its check begins critical
            agent.passes.pop(f"service:{service['id']}", None)
            return self._answer(200, "")
        found = re.fullmatch(r"/v1/agent/(service/deregister|check/pass)/(.+)", path)
        assert found is not None, path
        verb, id = found.groups()
        if verb == "service/deregister":
            if agent.services.pop(id, None) is None:
                return self._answer(404, f'Unknown service ID "{id}"')
            return self._answer(200, "")
        if id.removeprefix("service:") not in agent.services:
            return self._answer(404, f'Unknown check ID "{id}"')
        agent.passes[id] = time.monotonic()
        self._answer(200, "")

    def do_GET(self) -> None:
        agent, url = self.server, urlsplit(self.path)
        agent.tokens.add(self.headers.get("X-Consul-Token"))
        if agent.broken:
            return self._answer(500, "No cluster leader")
        name = url.path.removeprefix("/v1/health/service/")
        only_passing = "passing" in parse_qs(url.query, keep_blank_values=True)
        rows = [
            {
                "Node": {"Node": "n1", "Address": "127.0.0.1"},
                "Service": {"ID": id, "Service": name, "Address": row["address"], "Port": row["port"]},
                "Checks": [],
            }
            for id, row in agent.services.items()
            if row["name"] == name and (agent.passing(id) or not only_passing)
        ]
        self._answer(200, json.dumps(rows))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("X-Consul-Index", "7")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def consul() -> Iterator[ConsulAgent]:
    agent = ConsulAgent()
    thread = threading.Thread(target=agent.serve_forever, args=(0.02,))
    thread.start()
    yield agent
    agent.shutdown()
    thread.join()
    agent.server_close()


# ---------------------------------------------------------------- the contract


@dataclass
class Place:
    """A directory, from as many sides as a test wants."""

    enter: Callable[[], Directory]
    service: str


@pytest.fixture(params=["etcd", "consul"])
def place(request: pytest.FixtureRequest) -> Place:
    service = f"auth-{time.monotonic_ns()}"
    if request.param == "etcd":
        etcd: Etcd = request.getfixturevalue("etcd")
        return Place(lambda: EtcdDirectory(etcd.url, service, TTL), service)
    agent: ConsulAgent = request.getfixturevalue("consul")
    return Place(lambda: ConsulDirectory(agent.url, service, TTL), service)


def test_who_registers_is_found_and_who_withdraws_is_not(place: Place) -> None:
    one, two, finder = place.enter(), place.enter(), place.enter()
    assert finder.instances() == set()
    one.register("127.0.0.1:5001")
    two.register("[::1]:5002")
    assert finder.instances() == {"127.0.0.1:5001", "[::1]:5002"}
    one.withdraw()
    assert finder.instances() == {"[::1]:5002"}
    two.withdraw()
    assert finder.instances() == set()


def test_who_falls_silent_is_forgotten_and_who_renews_is_not(place: Place) -> None:
    silent, alive, finder = place.enter(), place.enter(), place.enter()
    silent.register("127.0.0.1:5001")
    alive.register("127.0.0.1:5002")
    end = time.monotonic() + 4 * TTL
    while finder.instances() != {"127.0.0.1:5002"}:
        assert time.monotonic() < end
        time.sleep(TTL / 4)
        alive.renew()
    alive.withdraw()


def test_who_was_forgotten_enters_again(place: Place) -> None:
    one, finder = place.enter(), place.enter()
    one.register("127.0.0.1:5001")
    one.withdraw()  # as the directory lost it
    assert finder.instances() == set()
    one.renew()
    assert finder.instances() == {"127.0.0.1:5001"}
    one.withdraw()


def test_a_name_that_begins_alike_is_another_service(place: Place) -> None:
    one = place.enter()
    one.register("127.0.0.1:5001")
    if isinstance(one, EtcdDirectory):
        other: Directory = EtcdDirectory(one._client.get_url("").split("/v3")[0], place.service[:-1], TTL)
    else:
        assert isinstance(one, ConsulDirectory)
        other = ConsulDirectory(one._consul.http.base_uri, place.service[:-1], TTL)
    assert other.instances() == set()
    one.withdraw()


@pytest.mark.parametrize("kind", [EtcdDirectory, ConsulDirectory])
def test_a_directory_that_is_not_there_is_away(kind: Callable[..., Directory]) -> None:
    directory = kind(f"http://127.0.0.1:{free_port()}", "auth", TTL)
    for ask in (directory.instances, directory.renew, lambda: directory.register("127.0.0.1:1")):
        with pytest.raises(DiscoveryUnavailable):
            ask()


def test_static_knows_what_it_was_told() -> None:
    directory = StaticDirectory(("a:1", "b:2"))
    directory.register("c:3")
    assert directory.instances() == {"a:1", "b:2"}


@pytest.mark.parametrize("name", ["static", "etcd", "consul"])
def test_each_is_built_from_the_configuration(name: str) -> None:
    conf = load({"GMQTT_AUTH__DISCOVERY__PROVIDER": name}).auth.discovery
    assert type(discovery.build(conf)).__name__ == f"{name.capitalize()}Directory"


async def test_a_membership_survives_an_outage_of_etcd(tmp_path: Path, etcd: Etcd) -> None:
    own = Etcd(tmp_path / "etcd")
    own.start()
    membership = Membership(EtcdDirectory(own.url, "auth", TTL), ttl=0.6)
    finder = EtcdDirectory(own.url, "auth", TTL)
    try:
        await membership.join("127.0.0.1:5001")
        await asyncio.to_thread(own.stop)
        await asyncio.sleep(0.5)
        shutil.rmtree(own.directory)  # and everything it knew
        await asyncio.to_thread(own.start)
        end = time.monotonic() + 5
        while await asyncio.to_thread(finder.instances) != {"127.0.0.1:5001"}:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        await membership.leave()
        assert finder.instances() == set()
    finally:
        own.stop()


async def test_nobody_joins_a_directory_that_is_away() -> None:
    membership = Membership(EtcdDirectory(f"http://127.0.0.1:{free_port()}", "auth", TTL), TTL)
    with pytest.raises(DiscoveryUnavailable):
        await membership.join("127.0.0.1:5001")
    await membership.leave()


def test_consul_s_own_troubles_are_away(consul: ConsulAgent) -> None:
    directory = ConsulDirectory(consul.url, "auth", TTL, token="secret-token")
    directory.register("127.0.0.1:5001")
    assert consul.tokens == {"secret-token"}
    consul.broken = True
    with pytest.raises(DiscoveryUnavailable):
        directory.instances()
    with pytest.raises(DiscoveryUnavailable):
        directory.renew()
    consul.broken = False
    consul.services.clear()  # the agent was restarted
    directory.renew()
    assert directory.instances() == {"127.0.0.1:5001"}
