"""`python -m bench.console`: how long each page of the console takes in the database that is configured.

Fill it first: `manage.py seed_directory`. As no node runs, all are recorded as down: a page would wait a
second for nodes that do not answer.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Final

import django

ROUNDS: Final = 5
WHO: Final = "bench-console"
PAGES: Final = {
    "dashboard": "",
    "sessions": "cluster/sessioninfo/",
    "sessions, a page in the middle": "cluster/sessioninfo/?after=seed-050000",
    "sessions, by node": "cluster/sessioninfo/?node=seed-node-1",
    "sessions, by version and transport": "cluster/sessioninfo/?level=3&transport=wss",
    "sessions, search": "cluster/sessioninfo/?q=seed-09",
    "sessions, search without result": "cluster/sessioninfo/?q=nobody",
    "subscriptions": "cluster/subscriptioninfo/",
    "subscriptions, by QoS": "cluster/subscriptioninfo/?qos=2",
    "who would receive a topic": "cluster/subscriptioninfo/recipients/?topic=all/1",
    "topics": "cluster/sessioninfo/topics/",
    "drops": "cluster/drop/",
    "nodes": "cluster/clusternode/",
    "registered clients": "mqtt_auth/client/",
    "audit log": "auditlog/logentry/",
}


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gmqtt_platform.settings")
    django.setup()
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client as Browser

    from apps.cluster.models import ClusterNode, SessionInfo

    user, _ = User.objects.get_or_create(username=WHO, is_staff=True, is_superuser=True)
    browser = Browser(headers={"host": "localhost"})
    browser.force_login(user)
    ClusterNode.objects.filter(name__startswith="seed-").update(state=ClusterNode.State.DOWN)
    pages = dict(PAGES)
    if (session := SessionInfo.objects.first()) is not None:
        pages["a client"] = f"cluster/sessioninfo/{session.pk}/change/"
    print(f"{connection.vendor}, {SessionInfo.objects.count()} sessions; ms, the quickest of {ROUNDS}")
    try:
        for name, path in pages.items():
            spent = []
            for _round in range(ROUNDS):
                began = time.perf_counter()
                answer = browser.get(f"/admin/{path}")
                spent.append(time.perf_counter() - began)
            if answer.status_code != 200:
                print(f"{name}: {answer.status_code}", file=sys.stderr)
                return 1
            print(f"{name:36} {min(spent) * 1000:6.0f}")
    finally:
        user.delete()
    return 0


if __name__ == "__main__":
    sys.exit(main())
