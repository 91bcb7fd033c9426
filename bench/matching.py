"""T1: the subscription tree alone, in this process, against its slow twin that looks at every filter."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass

from .measure import Sample
from .probe import pss_bytes

PER_CLIENT = 100  # subscriptions
TOPICS = 20_000  # each matched once, so nothing is remembered
NAIVE_TOPICS = 10


@dataclass(frozen=True)
class Matching:
    name: str
    title: str
    subscriptions: int = 100_000

    def scaled(self, fraction: float) -> Matching:
        return Matching(self.name, self.title, max(5, int(self.subscriptions * fraction)))


def filters(count: int) -> list[str]:
    """Five shapes, one in five without a wildcard: a topic of `topics` matches up to eight of 100,000."""
    out: list[str] = []
    for number in range(count):
        device, shape = divmod(number, 5)
        site, metric = device % 100, device // 100 % 50
        out.append(
            (
                f"fleet/s{site}/d{device}/m{metric}",
                f"fleet/+/d{device}/m{metric}",
                f"fleet/s{site}/d{device}/+",
                f"fleet/s{site}/+/m{metric}",
                f"fleet/s{site}/d{device}/#",
            )[shape]
        )
    return out


def topics(count: int, subscriptions: int) -> list[str]:
    chance = random.Random(1)
    devices = [chance.randrange(max(1, subscriptions // 5)) for _ in range(count)]
    return [f"fleet/s{device % 100}/d{device}/m{chance.randrange(50)}" for device in devices]


def run(matching: Matching) -> Sample:
    """CPU per match of the tree, and in ``extra`` of the twin; a different answer counts as a fault."""
    # Here, so that measuring other brokers needs nothing of the node
    from apps.gateway.broker.limits import Limits
    from apps.gateway.broker.node import Node
    from apps.gateway.broker.session import Session, Subscription
    from apps.gateway.broker.trie import SubscriptionTrie
    from apps.gateway.mqtt.topics import matches
    from apps.gateway.observer import LogObserver

    node = Node("bench", "0", Limits(), LogObserver(), lambda: None, lambda: "", 0.0)
    trie = SubscriptionTrie()
    wanted = filters(matching.subscriptions)
    session = Session(node, "", 0.0)
    for number, item in enumerate(wanted):
        if number % PER_CLIENT == 0:
            session = Session(node, f"client-{number // PER_CLIENT}", 0.0)
        trie.add(Subscription(session, item, "", 1))
    asked = topics(TOPICS, matching.subscriptions)
    for topic in asked[:1000]:
        trie.match(topic)
    wall, start = time.perf_counter(), time.process_time()
    found = [trie.match(topic) for topic in asked]
    cpu, seconds = time.process_time() - start, time.perf_counter() - wall
    sample = Sample(cpu / TOPICS * 1e6, TOPICS / seconds, None, None, None, pss_bytes(os.getpid()))
    sample.extra["matched"] = sum(len(item.subscriptions) for item in found) / TOPICS
    start = time.process_time()
    naive = [[item for item in wanted if matches(item, topic)] for topic in asked[:NAIVE_TOPICS]]
    sample.extra["naive_us"] = (time.process_time() - start) / NAIVE_TOPICS * 1e6
    for by_tree, by_twin in zip(found, naive, strict=False):
        have = {(item.client_id, item.filter) for item in by_tree.subscriptions}
        sample.faults.lost += len(set(by_twin) - {item for _, item in have})
        sample.faults.duplicated += len({item for _, item in have} - set(by_twin))
    return sample
