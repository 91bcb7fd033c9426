"""What the dashboard's numbers and charts are made from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.console import sampler, selectors
from apps.console.models import Sample
from apps.console.sampler import Sampler
from tests.apps.cluster.factories import NodeFactory
from tests.apps.console.figures import stats

pytestmark = pytest.mark.django_db


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Sample]:
    """What would have been written, in a thread, by a running loop."""
    rows: list[Sample] = []

    class Done:
        def done(self) -> bool:
            return True

    def create_task(writing: Any) -> Done:
        writing.close()
        return Done()

    def to_thread(function: Any, given: list[Sample]) -> Any:
        async def nothing() -> None: ...

        rows.extend(given)
        return nothing()

    monkeypatch.setattr(sampler.asyncio, "create_task", create_task)
    monkeypatch.setattr(sampler.asyncio, "to_thread", to_thread)
    return rows


def test_rates_are_the_rise_of_counters() -> None:
    before = stats(publishes_in=10, drops={"expired": 1}, refused={"0x87": 2})
    now = stats(publishes_in=40, connections=7, drops={"expired": 1, "denied": 4}, refused={"0x87": 4})
    values = sampler.rates(before, now, 2.0)
    assert (values["messages_in"], values["connections"]) == (15.0, 7)
    assert (values["dropped"], values["refused"]) == (2.0, 1.0)
    assert set(values) == set(sampler.FIELDS)


def test_steps_are_averages(saved: list[Sample]) -> None:
    counts = iter(range(0, 10_000, 5))
    made = Sampler("n", lambda: stats(publishes_in=next(counts), connections=4))
    for second in range(1201):
        made.sample(1_700_000_000.0 + second)
    by_step = {step: [row for row in saved if row.step == step] for step in sampler.STEPS}
    assert {step: len(rows) for step, rows in by_step.items()} == {10: 120, 60: 20, 600: 2}
    assert by_step[60][3].values["messages_in"] == 5.0 and by_step[600][1].values["connections"] == 4.0
    assert len(made.recent) == sampler.RECENT


def test_what_is_old_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "close_old_connections", lambda: None)  # the test's own is not a thread's
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for age in (10, 3599, 3700):
        at = now - timedelta(seconds=age)
        Sample.objects.create(node="n", step=10, at=at, values={})
    sampler.save([Sample(node="n", step=10, at=now, values={})])
    assert Sample.objects.count() == 3
    sampler.save([Sample(node="n", step=10, at=now, values={})])  # another process of the same name: no error


def test_the_nodes_of_a_cluster_are_added_up() -> None:
    at = timezone.now().replace(microsecond=0)
    for node in ("a", "b"):
        Sample.objects.create(node=node, step=10, at=at, values={"connections": 2, "messages_in": 1.5})
    (point,) = selectors.history("1h")
    assert (point["connections"], point["messages_in"], point["dropped"]) == (4.0, 3.0, 0.0)


def test_viewers_hear_each_sample(saved: list[Sample]) -> None:
    heard: list[dict[str, Any]] = []
    made = Sampler("n", lambda: stats(drops={"expired": 3, "denied": 0}))
    made.viewers.add(heard.append)
    for second in range(3):
        made.sample(float(second))
    assert len(heard) == 2 and heard[0]["drops"] == {"expired": 3} and heard[0]["node"] == "n"


def test_a_node_that_says_nothing_is_not_called_up() -> None:
    now = timezone.now()
    for name, state, age in (("a", "up", 1), ("b", "up", 60), ("c", "down", 60), ("d", "draining", 1)):
        seen = now - timedelta(seconds=age)
        bridge = {"state": "running", "lag": 3} if name == "a" else {}
        NodeFactory(name=name, state=state, seen_at=seen, stats={"connections": 7}, bridge=bridge)
    found = selectors.nodes()
    assert [each["state"] for each in found] == ["up", "silent", "down", "draining"]
    assert (found[0]["connections"], found[0]["bridge"], found[0]["lag"]) == (7, "running", 3)
    assert found[1]["bridge"] is None


def test_the_clusters_part_is_the_nodes_added_up() -> None:
    """But retained messages, which each node has; and a node that has just come has no rates yet."""
    before = {"a": stats(connections=1, publishes_in=10, retained=5, refused={"135": 1})}
    now = {
        "a": stats(connections=2, publishes_in=30, retained=5, drops={"expired": 1}, refused={"135": 2}),
        "b": stats(connections=3, publishes_in=1000, retained=6, drops={"expired": 2, "denied": 0}),
    }
    found = sampler.whole(before, now, 2.0, ["c"])
    assert found["of"] == {"nodes": ["a", "b"], "missing": ["c"]}
    values = found["values"]
    assert (values["connections"], values["messages_in"], values["retained"]) == (5, 10.0, 6)
    assert found["drops"] == {"expired": 3} and found["refused"] == {"135": 2}


async def test_in_a_cluster_the_others_are_asked_while_somebody_looks() -> None:
    asked: list[int] = []

    async def cluster() -> tuple[dict[str, Any], list[str]]:
        asked.append(1)
        return {"n": stats(connections=1), "m": stats(connections=2)}, []

    running = sampler.Sampler("n", lambda: stats(connections=1), cluster=cluster)
    for now in (1.0, 2.0):
        running.sample(now)
        running._ask_cluster()
    assert asked == [] and running.latest["values"]["connections"] == 1
    seen: list[dict[str, Any]] = []
    running.viewers.add(seen.append)
    for now in (3.0, 4.0, 5.0):
        running._ask_cluster()
        assert running._asking is not None
        await running._asking
        running.sample(now)
    assert seen[0]["of"]["nodes"] == ["n"]
    assert seen[-1]["of"]["nodes"] == ["m", "n"] and seen[-1]["values"]["connections"] == 3
