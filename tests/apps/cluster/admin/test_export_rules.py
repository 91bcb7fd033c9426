"""Export rules in the console: who may, two operators at one rule, hostile queries, and the audit trail."""

from __future__ import annotations

import re

import pytest
from auditlog.models import LogEntry

from apps.cluster.models import ExportRule
from tests.apps.cluster.admin.pages import ADMIN, browser

pytestmark = pytest.mark.django_db(transaction=True)
RULE = {"filter": "a/#", "kafka_topic": "erp", "key_template": "${topic}", "enabled": "on", "note": ""}
EDITOR = ("view_exportrule", "add_exportrule", "change_exportrule", "delete_exportrule")


def test_a_rule_is_written_changed_and_removed() -> None:
    page = browser(*EDITOR)
    assert page.post(f"{ADMIN}/exportrule/add/", RULE).status_code == 302
    rule = ExportRule.objects.get()
    path = f"{ADMIN}/exportrule/{rule.pk}"
    assert page.post(f"{path}/change/", RULE | {"kafka_topic": "crm"}).status_code == 302
    rule.refresh_from_db()
    assert rule.kafka_topic == "crm"
    assert page.post(f"{path}/delete/", {"post": "yes"}).status_code == 302
    assert not ExportRule.objects.exists()
    entries = LogEntry.objects.filter(content_type__model="exportrule").order_by("id")
    actions = LogEntry.Action
    assert [entry.action for entry in entries] == [actions.CREATE, actions.UPDATE, actions.DELETE]
    assert entries[1].changes["kafka_topic"] == ["erp", "crm"]


@pytest.mark.parametrize(
    "bad",
    [{"filter": "a/#/b"}, {"kafka_topic": "no spaces"}, {"key_template": "${nonsense}"}, {"filter": ""}],
)
def test_what_is_no_rule(bad: dict[str, str]) -> None:
    answer = browser(*EDITOR).post(f"{ADMIN}/exportrule/add/", RULE | bad)
    assert answer.status_code == 200 and answer.context["errors"]
    assert not ExportRule.objects.exists()


def test_two_operators_at_one_rule() -> None:
    rule = ExportRule.objects.create(filter="a", kafka_topic="k")
    page = browser(*EDITOR)
    path = f"{ADMIN}/exportrule/{rule.pk}/change/"
    (seen,) = re.findall(r'name="seen" value="(\w+)"', page.get(path).content.decode())
    assert page.post(path, RULE | {"note": "the first", "seen": seen}).status_code == 302
    answer = page.post(path, RULE | {"note": "the second", "seen": seen})
    assert answer.status_code == 200 and "Somebody changed this" in answer.content.decode()
    rule.refresh_from_db()
    assert rule.note == "the first"


def test_odd_queries() -> None:
    page = browser(*EDITOR)
    for query in (
        "note__regex=(a%2B)%2B",
        "filter__startswith=a",
        "q=%00",
        "p=9999999999999999999999",
        "o=9.9",
    ):
        assert page.get(f"{ADMIN}/exportrule/?{query}").status_code in (200, 302, 400)
    assert page.get(f"{ADMIN}/exportrule/99999999999999999999999/change/").status_code == 302
