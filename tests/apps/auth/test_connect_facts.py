"""selectors.connect_facts: everything a CONNECT is decided on, by one query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.auth.facts import ClientFacts, ConnectFacts
from apps.auth.selectors import connect_facts
from tests.apps.auth.factories import BanFactory, ClientFactory, CredentialFactory, GroupFactory, RuleFactory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def compiled(db: None) -> None:
    """The SQL is made once in a process; on SQLite, Django asks the database then whether it knows JSON."""
    for address in ("", "192.0.2.7", "2001:db8::7"):
        connect_facts("warm", "warm", address)


def test_one_query_finds_all_that_concerns_the_client(django_assert_num_queries: Any) -> None:
    check_all(django_assert_num_queries)


def check_all(django_assert_num_queries: Any) -> None:
    """On whichever database is the default one; test_postgresql.py does the same there."""
    red, blue, other = GroupFactory(name="red"), GroupFactory(name="blue"), GroupFactory(name="other")
    client = ClientFactory(client_id="pump-1", groups=[red, blue], transport_mask=5)
    stranger = ClientFactory(client_id="pump-2", groups=[other])
    end = datetime(2100, 1, 2, 3, 4, 5, 600_000, UTC)
    current = CredentialFactory(client=client, username="pump")
    old = CredentialFactory(client=client, username="pump", valid_until=end)
    CredentialFactory(client=client, username="pump", valid_until=timezone.now() - timedelta(seconds=1))
    cert = CredentialFactory(client=client, kind="x509", subject="CN=pümp")
    claim = CredentialFactory(client=client, kind="jwt", claim="sub", claim_value="p1")
    CredentialFactory(client=stranger)
    of_everyone = RuleFactory(filter="all/#", priority=0)
    of_client = RuleFactory(filter="mine/${clientid}", client=client, max_qos=1, retain=False)
    denied = RuleFactory(filter="mine/secret", client=client, effect="deny", action="publish")
    of_group = RuleFactory(filter="red/#", group=red)
    first = RuleFactory(filter="first/#", group=blue, priority=9)
    RuleFactory(group=other)
    RuleFactory(client=stranger)
    by_id = BanFactory(value="pump-1", until=end, reason="why")
    by_name = BanFactory(kind="username", value="pump")
    by_network = BanFactory(kind="address", value="192.0.2.0/24")
    by_pattern = BanFactory(kind="pattern", value="pump-?")
    BanFactory(value="pump-2")
    BanFactory(kind="pattern", value="PUMP-*")
    BanFactory(kind="pattern", value="[p]ump-1")
    BanFactory(kind="address", value="192.0.2.8/32")
    BanFactory(kind="pattern", value="pum*", until=timezone.now() - timedelta(seconds=1))

    with django_assert_num_queries(1):
        facts = connect_facts("pump-1", "pump", "192.0.2.7")

    assert facts.client == ClientFacts(client.pk, "pump-1", True, 5)
    assert facts.groups == ("blue", "red")
    assert [(row.id, row.kind) for row in facts.credentials] == [
        (current.pk, "secret"),
        (old.pk, "secret"),
        (cert.pk, "x509"),
        (claim.pk, "jwt"),
    ]
    assert [row.valid_until for row in facts.credentials] == [None, end.timestamp(), None, None]
    assert facts.credentials[0].secret == current.secret
    assert facts.credentials[2].subject == "CN=pümp"
    assert (facts.credentials[3].claim, facts.credentials[3].claim_value) == ("sub", "p1")
    assert [rule.id for rule in facts.rules] == [
        first.pk,
        denied.pk,
        of_client.pk,
        of_group.pk,
        of_everyone.pk,
    ]
    assert [rule.scope for rule in facts.rules] == ["group", "client", "client", "group", "everyone"]
    assert [rule.group for rule in facts.rules] == ["blue", "", "", "red", ""]
    assert (facts.rules[2].max_qos, facts.rules[2].retain) == (1, False)
    assert [ban.id for ban in facts.bans] == [by_id.pk, by_name.pk, by_network.pk, by_pattern.pk]
    assert (facts.bans[0].until, facts.bans[0].reason) == (end.timestamp(), "why")


def test_an_unknown_client_has_bans_and_the_rules_of_everyone(django_assert_num_queries: Any) -> None:
    rule = RuleFactory(filter="all/#")
    ban = BanFactory(kind="address", value="2001:db8::/32")
    with django_assert_num_queries(1):
        facts = connect_facts("nobody", None, "2001:db8::7")
    assert facts.client is None
    assert (facts.credentials, facts.groups) == ((), ())
    assert [found.id for found in facts.rules] == [rule.pk]
    assert [found.id for found in facts.bans] == [ban.pk]


def test_nothing_at_all(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert connect_facts("nobody") == ConnectFacts(None, (), (), (), ())


def test_an_ipv4_address_in_ipv6_clothes_is_banned_too() -> None:
    ban = BanFactory(kind="address", value="192.0.2.7/32")
    assert [found.id for found in connect_facts("x", None, "::ffff:192.0.2.7").bans] == [ban.pk]


@pytest.mark.parametrize("name", ["a'b", 'a"b', "a%sb", "a\\b", "${clientid}", "ü€😀", "a;--", "client_id"])
def test_no_name_is_special(name: str) -> None:
    client = ClientFactory(client_id=name)
    ClientFactory(client_id="other")
    CredentialFactory(client=client)
    facts = connect_facts(name, name)
    assert facts.client is not None
    assert facts.client.id == client.pk
    assert [row.username for row in facts.credentials] == [name]


def test_secrets_are_not_shown() -> None:
    CredentialFactory(client=ClientFactory(client_id="a"))
    assert "sha256$" not in repr(connect_facts("a"))
