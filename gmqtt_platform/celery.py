"""The Celery application: bridges (`celery -A gmqtt_platform worker --bridge`) and upkeep, over Redis."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from click import Option

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")

from django.conf import settings

from apps.cluster.bridge import build
from apps.cluster.bridge.bootstep import BridgeStep
from apps.cluster.bridge.bridge import Bridge
from gmqtt_platform import exporter

app = Celery("gmqtt", broker=settings.GMQTT.redis.url, set_as_current=True)
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    task_default_queue="gmqtt",
    task_ignore_result=True,
    worker_hijack_root_logger=False,  # it logs as the nodes do
    timezone="UTC",
)
app.autodiscover_tasks()


class Step(BridgeStep):
    def build(self) -> Bridge:
        made = build.bridge(settings.GMQTT)
        memory = exporter.MemoryCollector()
        exporter.serve(settings.GMQTT, "bridge", exporter.BridgeCollector(made.status), tasks, memory)
        return made


tasks = exporter.TaskCollector()


@signals.task_postrun.connect
def _ended(task: Any = None, state: str | None = None, **_: Any) -> None:
    tasks.ended[getattr(task, "name", ""), str(state)] += 1


@signals.worker_ready.connect
def _ready(sender: Any = None, **_: Any) -> None:
    if getattr(sender.controller, "bridge", None) is None:
        exporter.serve(settings.GMQTT, "worker", tasks, exporter.MemoryCollector())


def _options() -> Any:
    help = "Serve the nodes of this host: read Kafka for them (Unix socket broker.kafka.bridge_socket)."
    return Option(["--bridge"], is_flag=True, default=False, help=help)


app.user_options["worker"].add(_options())
app.steps["worker"].add(Step)
