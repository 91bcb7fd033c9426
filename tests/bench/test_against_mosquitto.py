"""Short runs of every kind of scenario against a real broker."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bench import flows, idle, loop, peers, retained, verify
from bench.links import Closed, Endpoint, open_links

ALL = "bench/+/t"


@pytest.fixture(scope="module")
def peer() -> Iterator[peers.Peer]:
    with peers.running(["mosquitto"], websocket=True) as (running,):
        yield running


pytestmark = pytest.mark.usefixtures("mosquitto")

FLOWS = [
    flows.Flow("flood", "", 2, 1000, 0),
    flows.Flow("window", "", 2, 1000, 1),
    flows.Flow("all", "", 10, 200, 1, 1, ALL),
    flows.Flow("exact", "", 10, 50, 2, 2, ALL),
    flows.Flow("held back", "", 10, 200, 1, 1, ALL, lead=7),
    flows.Flow("exact, held back", "", 10, 50, 2, 2, ALL, lead=7),
    flows.Flow("pairs", "", 5, 400, 1, 5),
    flows.Flow("fan-out", "", 1, 200, 0, 10, "bench/00000/t"),
    flows.Flow("large", "", 2, 20, 1, 2, payload=65536),
    flows.Flow("paced", "", 4, 20, 1, 4, rate=100),
    flows.Flow("web pairs", "", 2, 300, 1, 2, websocket=True),
    flows.Flow("web exact", "", 2, 50, 2, 1, ALL, websocket=True),
    flows.Flow("among others", "", 2, 100, 1, 2, idle_subscriptions=1500),
]


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_message_is_delivered_and_costs_something(flow: flows.Flow, peer: peers.Peer) -> None:
    sample = flows.run(flow, peer)
    assert not sample.faults
    assert 0 < sample.cpu_us < 1000
    assert sample.pss > 1 << 20
    if flow.qos or flow.subscribers:
        assert sample.p50_ms is not None and sample.p99_ms is not None
        assert 0 < sample.p50_ms <= sample.p99_ms < 5000


def test_idle_connections(peer: peers.Peer) -> None:
    sample = idle.run(idle.Idle("", "", 300), peer)
    assert sample.rate > 0
    assert "kb_per_connection" in sample.extra


def test_retained_messages(peer: peers.Peer) -> None:
    small = retained.Retained("", "", devices=20, metrics=5)
    retained.prepare(small, peer)
    sample = retained.run(small, peer)
    assert not sample.faults
    assert 0 < sample.extra["first_ms"] <= sample.extra["last_ms"]


def test_a_silent_broker_is_a_loss_not_a_hang(peer: peers.Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody publishes what the subscribers wait for."""
    monkeypatch.setattr(loop, "STALL", 0.1)
    sample = flows.run(flows.Flow("", "", 1, 10, 0, 1, "elsewhere/+"), peer)
    assert sample.faults == verify.Faults(lost=10)


def test_a_deadline_ends_a_run(peer: peers.Peer) -> None:
    with pytest.raises(loop.DeadlineExceeded):
        flows.run(flows.Flow("", "", 1, 100_000, 1, deadline=0.0), peer)


def test_a_wrong_password_is_refused(peer: peers.Peer) -> None:
    stranger = Endpoint(peer.websocket.port, "bench", lambda _: "wrong", path="/mqtt")
    with pytest.raises(Closed, match="CONNECT refused"):
        open_links(stranger, ["stranger"])


def test_peers_are_stopped_when_something_fails() -> None:
    with pytest.raises(RuntimeError), peers.running(["mosquitto"]) as (running,):
        pid = running.pid
        raise RuntimeError
    assert not Path(f"/proc/{pid}").exists()


def test_a_broker_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda program, path: "/bin/false")
    with pytest.raises(peers.StartError, match="mosquitto ended with code 1"):
        peers.Peer("mosquitto", websocket=False)


def test_lost_and_repeated_messages_are_seen(peer: peers.Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A middleman drops the sixth PUBLISH to the subscriber and repeats the fifth."""
    monkeypatch.setattr(loop, "STALL", 0.1)
    with (
        ExitStack() as sockets,  # closed when both ways have ended
        ThreadPoolExecutor() as pool,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        between = pool.submit(middleman, pool, sockets, server, peer.tcp.port)
        monkeypatch.setattr(peer, "tcp", Endpoint(server.getsockname()[1], "bench", lambda _: "bench"))
        sample = flows.run(flows.Flow("", "", 1, 50, 1, 1, ALL), peer)
        for way in between.result():
            way.result()
    assert sample.faults == verify.Faults(lost=1, duplicated=1)


def middleman(pool: Executor, sockets: ExitStack, server: socket.socket, port: int) -> list[Future[None]]:
    """Serve the subscriber, then the publisher."""
    ways: list[Future[None]] = []
    for _ in range(2):
        client = sockets.enter_context(server.accept()[0])
        broker = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
        ways += [pool.submit(copy, client, broker), pool.submit(tamper, broker, client)]
    return ways


def copy(client: socket.socket, broker: socket.socket) -> None:
    while data := client.recv(65536):
        broker.sendall(data)
    with suppress(OSError):  # the broker may have closed at the DISCONNECT
        broker.shutdown(socket.SHUT_WR)


def tamper(broker: socket.socket, client: socket.socket) -> None:
    """Packet by packet; all are shorter than 128 bytes. Ends when the broker closes."""
    published = 0
    with broker.makefile("rb") as stream:
        while head := stream.read(2):
            packet = head + stream.read(head[1])
            times = 1
            if packet[0] >> 4 == 3:
                published += 1
                times = {5: 2, 6: 0}.get(published, 1)
            client.sendall(packet * times)
