"""S10: many connections that do nothing. What does one cost, to open and to keep?"""

from __future__ import annotations

import time
from dataclasses import dataclass

from .links import close_links, open_links
from .measure import Meter, Sample
from .peers import Peer
from .probe import pss_bytes

WARM = 200  # connections opened and closed first, so that code and pools are in place
KEPT = 0.5  # seconds before memory is read


@dataclass(frozen=True)
class Idle:
    name: str
    title: str
    connections: int
    websocket: bool = False

    def scaled(self, fraction: float) -> Idle:
        return Idle(self.name, self.title, max(1, int(self.connections * fraction)), self.websocket)


def run(idle: Idle, peer: Peer) -> Sample:
    """One round, against a broker just started: memory that earlier connections left would hide growth.

    The clients connect twice. At first their secrets are unknown to the node (`cold_per_s`), and memory is
    read; what counts is the second time, when they come back as after the loss of a network.
    """
    endpoint = peer.websocket if idle.websocket else peer.tcp
    close_links(open_links(endpoint, [f"bench-w{number}" for number in range(WARM)]))
    time.sleep(KEPT)
    before = pss_bytes(peer.pid)
    names = [f"bench-{number:05d}" for number in range(idle.connections)]
    cold, pss = _connect(idle, peer, names)
    time.sleep(KEPT)
    warm, _ = _connect(idle, peer, names)
    sample = warm.sample(idle.connections, pss)
    sample.extra["cold_per_s"] = idle.connections / cold.seconds
    sample.extra["kb_per_connection"] = (pss - before) / idle.connections / 1024
    return sample


def _connect(idle: Idle, peer: Peer, names: list[str]) -> tuple[Meter, int]:
    """Open all connections, measure, close them; the broker's bytes while they were open."""
    endpoint = peer.websocket if idle.websocket else peer.tcp
    with Meter(peer.pid) as meter:
        links = open_links(endpoint, names)
        try:
            meter.stop()
            time.sleep(KEPT)
            return meter, pss_bytes(peer.pid)
        finally:
            close_links(links)
