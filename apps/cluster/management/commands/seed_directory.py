"""`manage.py seed_directory --sessions N --subscriptions M`: as many rows as a large platform has."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from apps.cluster.directory import names
from apps.cluster.models import ClusterNode, Drop, SessionInfo, SubscriptionInfo

BATCH_SIZE = 5000
NODES = 4
SEED = "seed-"  # what the names of everything it makes begin with
SHAPES = ("{site}/{client}/state", "{site}/{client}/cmd/#", "{site}/+/alarm", "$SYS/broker/#", "all/#")


class Command(BaseCommand):
    help = "Fill the directory with made-up rows, for measuring; --clear takes them away."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--sessions", type=int, default=100_000)
        parser.add_argument("--subscriptions", type=int, default=300_000)
        parser.add_argument("--drops", type=int, default=10_000)
        parser.add_argument("--clear", action="store_true", help="take away what it made, and make nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        with transaction.atomic():
            SubscriptionInfo.objects.filter(client_id__startswith=SEED).delete()
            SessionInfo.objects.filter(client_id__startswith=SEED).delete()
            Drop.objects.filter(node__startswith=SEED).delete()
            ClusterNode.objects.filter(name__startswith=SEED).delete()
            if options["clear"]:
                return
            now = datetime.now(UTC)
            for number in range(NODES):
                ClusterNode.objects.create(
                    name=_node(number), incarnation="seed", started_at=now, seen_at=now, state="down"
                )
            per_client = options["subscriptions"] / max(options["sessions"], 1)
            for model, rows in (
                (SessionInfo, _sessions(options["sessions"], per_client, now)),
                (SubscriptionInfo, _subscriptions(options["subscriptions"], options["sessions"])),
                (Drop, _drops(options["drops"], options["sessions"], now)),
            ):
                while some := list(islice(rows, BATCH_SIZE)):
                    model._default_manager.bulk_create(some)  # type: ignore[arg-type]
        counts = (f"{options[what]} {what}" for what in ("sessions", "subscriptions", "drops"))
        self.stdout.write(", ".join(counts))


def _client(number: int) -> str:
    return f"{SEED}{number:07}"


def _node(number: int) -> str:
    return f"{SEED}node-{number % NODES}"


def _sessions(count: int, subscriptions: float, now: datetime) -> Iterator[SessionInfo]:
    chance = random.Random(1)  # noqa: S311  # the same each time
    for number in range(count):
        online = number % 5 != 0
        connected = now - timedelta(seconds=chance.randrange(86_400))
        yield SessionInfo(
            client_id=_client(number),
            node=_node(number),
            online=online,
            username=f"{SEED}user-{number % 1000}",
            address=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
            port=1024 + number % 60_000,
            transport=("tcp", "tls", "ws", "wss")[number % 4],
            level=(5, 4, 5, 3)[number % 4],
            created_at=connected,
            connected_at=connected,
            disconnected_at=None if online else now,
            expiry_interval=0 if online else 3600,
            expires_at=None if online else now + timedelta(hours=1),
            subscriptions=round(subscriptions),
            queued=0 if online else number % 50,
            queued_bytes=0 if online else number % 50 * 300,
        )


def _subscriptions(count: int, sessions: int) -> Iterator[SubscriptionInfo]:
    for index in range(count):
        number = index % max(sessions, 1)
        turn = index // max(sessions, 1)
        shape = SHAPES[(number + turn) % len(SHAPES)]
        filter = shape.format(site=f"site-{number % 500}", client=_client(number))
        if turn >= len(SHAPES):
            filter = f"{filter.removesuffix('/#')}/{turn}"
        yield SubscriptionInfo(
            client_id=_client(number),
            node=_node(number),
            filter=filter,
            share="workers" if number % 10 == 0 else "",
            shape=names.shape(filter),
            qos=number % 3,
        )


def _drops(count: int, sessions: int, now: datetime) -> Iterator[Drop]:
    hour = now.replace(minute=0, second=0, microsecond=0)
    for index in range(count):
        number = index % max(sessions, 1)
        yield Drop(
            bucket=hour - timedelta(hours=index // max(sessions, 1)),
            node=_node(number),
            reason=("queue_full", "slow_subscriber", "expired")[number % 3],
            direction="out",
            client_id=_client(number),
            topic=f"site-{number % 500}/state",
            count=index + 1,
            first=now,
            last=now,
        )
