"""The queries for many clients against the one query for one client: they must say the same."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.auth.models import AclRule, Client, ClientGroup, Credential
from apps.auth.providers.bulk import facts_of
from apps.auth.selectors import connect_facts


@pytest.mark.django_db
def test_many_say_the_same_as_one() -> None:
    chance = random.Random(4)
    groups = [ClientGroup.objects.create(name=name) for name in ("red", "green", "blue", "empty")]
    ended, ends = timezone.now() - timedelta(hours=1), timezone.now() + timedelta(hours=1)
    for n in range(40):
        client = Client.objects.create(client_id=f"c{n}", enabled=n % 5 > 0, transport_mask=1 + n % 15)
        client.groups.set(chance.sample(groups[:3], chance.randrange(4)))
        for until in chance.sample([None, ended, ends], chance.randrange(4)):
            Credential.objects.create(
                client=client,
                kind="secret",
                username=f"u{n}",
                secret="sha256$x$y",
                scram="s",
                valid_until=until,
            )
        Credential.objects.create(client=client, kind="x509", subject=f"CN={n}")
        Credential.objects.create(client=client, kind="jwt", claim="device", claim_value=str(n))
        for _ in range(chance.randrange(4)):
            _rule(chance, client=client)
    for group in groups * 3:
        _rule(chance, group=group)
    for _ in range(5):
        _rule(chance)
    ids = [*(f"c{n}" for n in range(40)), "nobody", "c'\"%_"]
    found = facts_of(ids)
    assert list(found) == ids
    for client_id in ids:
        assert found[client_id] == replace(connect_facts(client_id), bans=())


def _rule(chance: random.Random, **of: object) -> None:
    AclRule.objects.create(
        effect="allow",
        action=chance.choice(["publish", "subscribe", "both"]),
        filter=chance.choice(["a/#", "d/${clientid}", "+/x"]),
        max_qos=chance.randrange(3),
        retain=chance.random() < 0.5,
        priority=chance.randrange(-2, 3),
        **of,
    )
    AclRule.objects.create(effect="deny", action="both", filter="no", priority=chance.randrange(-2, 3), **of)


@pytest.mark.django_db
def test_four_queries_however_many() -> None:
    from django.db import connection

    Client.objects.bulk_create([Client(client_id=f"c{n}") for n in range(500)])
    with CaptureQueriesContext(connection) as queries:
        facts_of([f"c{n}" for n in range(500)])
    assert len(queries) == 4
