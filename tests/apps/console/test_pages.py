"""The console's own pages: who may see them, and what they say."""

from __future__ import annotations

import stat
from collections.abc import Iterator

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client as Browser

from apps.common import node_services
from apps.common.node_services import NodeServices
from apps.console import metrics, roles
from apps.console.sampler import Sampler
from tests.apps.console.figures import stats

pytestmark = pytest.mark.django_db


def browser(*groups: str, staff: bool = True, **more: bool) -> Browser:
    user = User.objects.create_user("someone", password="engine", is_staff=staff, **more)
    user.groups.set(Group.objects.filter(name__in=groups))
    found = Browser(headers={"host": "localhost"})
    found.force_login(user)
    return found


@pytest.fixture(autouse=True)
def running() -> Iterator[NodeServices]:
    roles.create()
    services = NodeServices("n", stats)
    services.provide(Sampler, Sampler("n", stats))
    node_services.install(services)
    yield services
    node_services.install(None)


@pytest.mark.parametrize(
    ("groups", "staff", "status", "dashboard"),
    [
        ((), False, 302, False),
        ((), True, 200, False),
        (("viewer",), True, 200, True),
        (("operator",), True, 200, True),
        (("security",), True, 200, True),
        (("administrator",), True, 200, True),
    ],
)
def test_the_dashboard(groups: tuple[str, ...], staff: bool, status: int, dashboard: bool) -> None:
    page = browser(*groups, staff=staff)
    answer = page.get("/admin/")
    assert answer.status_code == status
    if status == 200:
        assert ('id="dashboard"' in answer.content.decode()) is dashboard
        assert page.get("/admin/console/history/?range=1h").status_code == (200 if dashboard else 403)
    assert Browser(headers={"host": "localhost"}).get("/admin/console/history/").status_code == 302


def test_an_unknown_range_is_an_error() -> None:
    answer = browser("viewer").get("/admin/console/history/?range=%00")
    assert answer.status_code == 400 and answer.json()["code"] == "unknown_range"


@pytest.mark.parametrize(
    ("group", "page", "sees"),
    [
        ("viewer", "/admin/mqtt_auth/client/", True),
        ("viewer", "/admin/auth/user/", False),
        ("operator", "/admin/mqtt_auth/aclrule/", False),
        ("security", "/admin/mqtt_auth/aclrule/", True),
        ("security", "/admin/auditlog/logentry/", True),
        ("administrator", "/admin/auth/user/", True),
    ],
)
def test_the_groups_that_are_there_from_the_start(group: str, page: str, sees: bool) -> None:
    there = browser(group)
    assert there.get(page).status_code == (200 if sees else 403)
    assert (page in there.get("/admin/").content.decode()) is sees  # nor does the sidebar lead there


def test_groups_stay_as_they_were_changed() -> None:
    viewer = Group.objects.get(name="viewer")
    viewer.permissions.clear()
    roles.create()
    assert not viewer.permissions.exists()


def test_both_languages() -> None:
    page = browser("viewer")
    assert "Connect the first device" in page.get("/admin/").content.decode()
    chinese = page.get("/admin/", headers={"accept-language": "zh-hans"}).content.decode()
    assert "连接第一台设备" in chinese and "Connect the first device" not in chinese


def test_only_our_own_scripts_run() -> None:
    policy = browser("viewer").get("/admin/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    scripts = next(part for part in policy.split(";") if "script-src" in part)
    assert "unsafe-inline" not in scripts and "http" not in scripts and "*" not in scripts


class TestMetrics:
    @pytest.fixture(autouse=True)
    def _stats(self, running: NodeServices) -> None:
        counted = dict.fromkeys((*metrics.COUNTERS, *metrics.GAUGES), 1)
        running.stats = lambda: stats(**counted, drops={"expired": 3}, refused={"135": 2})

    def test_they_are_for_who_can_read_the_nodes_files(self) -> None:
        """Not for this machine: a plain proxy on it speaks for the world, and adds nothing that tells."""
        page = Browser()
        file = settings.GMQTT.node.data_dir / "metrics_token"
        assert page.get("/metrics").status_code == 401
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        token = {"authorization": f"Bearer {file.read_text()}"}
        text = page.get("/metrics", headers=token).content.decode()
        assert 'gmqtt_dropped_messages_total{reason="expired"} 3.0' in text
        assert (
            'gmqtt_refused_connects_total{reason_code="135"} 2.0' in text and "gmqtt_connections 1.0" in text
        )
        assert page.get("/metrics", REMOTE_ADDR="10.0.0.9").status_code == 401
        assert page.get("/metrics", headers={"authorization": "Bearer "}).status_code == 401

    def test_with_a_token_for_who_has_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Conf:
            class console:
                metrics_token = "0123456789abcdef"

        monkeypatch.setattr(metrics.settings, "GMQTT", Conf)
        page = Browser()
        assert page.get("/metrics").status_code == 401
        assert page.get("/metrics", headers={"authorization": "Bearer 0123456789abcdeX"}).status_code == 401
        there = {"authorization": "Bearer 0123456789abcdef"}
        assert page.get("/metrics", headers=there, REMOTE_ADDR="10.0.0.9").status_code == 200


def test_readiness_says_why_not(running: NodeServices) -> None:
    page = Browser()
    running.readiness = {"node": lambda: ""}
    assert page.get("/readyz").json() == {"ready": True, "reasons": {}}
    running.readiness = {"node": lambda: "draining", "other": lambda: ""}
    answer = page.get("/readyz")
    assert answer.status_code == 503 and answer.json()["reasons"] == {"node": "draining"}
    assert page.post("/readyz").status_code == 405
