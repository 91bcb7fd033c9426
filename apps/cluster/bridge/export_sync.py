"""Write export rules, tell the nodes, and keep the nodes' own in step."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from apps.cluster.bridge.export_rules import DEFAULT_KEY, BadTemplate, Export, check_template
from apps.cluster.bridge.export_status import Failures
from apps.cluster.bridge.topic_names import TopicNames
from apps.common.listening import Listener
from apps.common.signed import Reader, sign

if TYPE_CHECKING:
    from apps.cluster.models import ExportRule
    from apps.common.database import DatabaseThread

logger = logging.getLogger(__name__)

GROUP: Final = "gmqtt.exports"
PURPOSE: Final = "exports.changed"  # that messages are signed for
REREAD: Final = 5.0  # seconds; changes are announced, this is for those that nobody heard


# Writing --------------------------------------------------------------------------------------------


def check(rule: ExportRule) -> None:
    """ValidationError where the rule cannot be kept."""
    try:
        check_template(rule.key_template)
    except BadTemplate as error:
        raise ValidationError({"key_template": f"Unknown place: {error}."}) from None
    kafka = settings.GMQTT.broker.kafka
    names = TopicNames(kafka.prefix, kafka.topics)
    if rule.kafka_topic == names.dead_letter:
        raise ValidationError({"kafka_topic": "The dead letters' topic."})
    if rule.kafka_topic not in names.live:
        return
    # What the nodes read themselves: there it has to be the topic's own record, or they would get it twice.
    if names.of_filter(rule.filter) != (rule.kafka_topic,):
        raise ValidationError({"kafka_topic": "The nodes' own topic, and not the one of this filter."})
    if rule.key_template != DEFAULT_KEY:
        raise ValidationError({"key_template": f"In the nodes' own topics the key is {DEFAULT_KEY}."})


def save(rule: ExportRule) -> None:
    """Make or change a rule, in force on every node within a second. ValidationError."""
    with transaction.atomic():
        rule.full_clean()
        rule.save()
        transaction.on_commit(announce, robust=True)


def remove(rules: Iterable[ExportRule]) -> None:
    with transaction.atomic():
        for rule in rules:
            rule.delete()
        transaction.on_commit(announce, robust=True)


def announce() -> None:
    layer = get_channel_layer()
    if layer is not None:
        async_to_sync(layer.group_send)(GROUP, {"type": "exports.changed", "body": sign(PURPOSE, {})})


# On the node ------------------------------------------------------------------------------------------


def read() -> list[Export]:
    """The rules that are on."""
    model: Any = apps.get_model("cluster", "ExportRule")
    rows = model.objects.filter(enabled=True).values_list("filter", "kafka_topic", "key_template")
    return [Export(filter, topic, key or DEFAULT_KEY) for filter, topic, key in rows]


def record(failures: Mapping[Export, Failures]) -> None:
    """Show at the rules what failed."""
    model: Any = apps.get_model("cluster", "ExportRule")
    for rule, found in failures.items():
        rows = model.objects.filter(filter=rule.filter, kafka_topic=rule.kafka_topic)
        rows.update(failed=F("failed") + found.count, last_error=found.text[:256], failed_at=timezone.now())


async def follow(
    database: DatabaseThread,
    load: Callable[[list[Export]], None],
    failures: Callable[[], dict[Export, Failures]],
) -> None:
    """Call `load` with the rules at once and at every change, and record `failures`, until cancelled."""
    changed = asyncio.Event()

    def again(_: object) -> None:
        changed.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Listener(get_channel_layer(), GROUP, Reader(PURPOSE), again, again).run())
        while True:
            changed.clear()
            try:
                load(await database.run(read))
                found = failures()
                if found:
                    await database.run(record, found)
            except Exception as error:  # the rules that are known stay in force
                logger.warning("export rules cannot be followed: %s", error)
                await asyncio.sleep(1)
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(REREAD):
                    await changed.wait()
