"""A configuration that is valid and would lock everybody out is told from one that would not."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from apps.auth import lockout
from apps.auth.models import AclRule
from gmqtt_platform.config.auth import AuthConf, GuardConf, JwtConf, X509Conf
from tests.apps.auth.factories import ClientFactory, CredentialFactory

pytestmark = pytest.mark.django_db
ONE = [("pump", "mock")]


def conf(*client: str, **others: Any) -> AuthConf:
    return replace(AuthConf(client=client or ("mock",), acl=("mock",)), **others)


def key(auth: AuthConf, connected: list[tuple[str, str]] | None = None, certificates: bool = False) -> str:
    found = lockout.why(auth, certificates, connected or [])
    return found[0] if found is not None else ""


@pytest.mark.parametrize(
    ("auth", "found"),
    [
        (conf("mock"), ""),
        (conf("mock", "django", mock="failure"), "auth.client"),
        (conf("jwt", mock="failure"), "auth.acl"),
        (conf("mock", guard=GuardConf(connects_per_client=1)), "auth.guard.connects_per_client"),
        (conf("mock", guard=GuardConf(connects_per_client=1, ban_seconds=0)), ""),
        (conf("mock", guard=GuardConf(connects_per_client=2)), ""),
        (conf("django"), "auth.client"),
        (conf("scram", "x509"), "auth.client"),
        (conf("jwt"), ""),
        (conf("jwt", jwt=JwtConf(registered=True)), "auth.client"),
        (conf("django", "rpc"), ""),
        (conf("mock", acl=("django",)), "auth.acl"),
        (conf("mock", acl=("django",), acl_default="allow"), ""),
        (conf("mock", acl=("django", "rpc")), ""),
    ],
)
def test_with_nobody_registered(auth: AuthConf, found: str) -> None:
    assert key(auth) == found


def test_one_credential_is_a_way_in_while_it_is_valid() -> None:
    credential = CredentialFactory(client=ClientFactory(client_id="pump"))
    assert key(conf("django")) == ""
    assert key(conf("x509"), certificates=True) == "auth.client"  # another kind
    credential.valid_until = timezone.now() - timedelta(seconds=1)
    credential.save()
    assert key(conf("django")) == "auth.client"
    credential.valid_until = None
    credential.save()
    credential.client.enabled = False
    credential.client.save()
    assert key(conf("django")) == "auth.client"


def test_certificates_that_nobody_asks_for() -> None:
    common_name = conf("x509", x509=X509Conf(match="common_name"))
    assert key(common_name) == "auth.client"
    assert key(common_name, certificates=True) == ""


def test_none_of_those_that_are_connected_could_come_back() -> None:
    CredentialFactory(client=ClientFactory(client_id="of a test"))
    assert key(conf("django"), ONE) == "auth.client"
    assert key(conf("django", "mock"), ONE) == ""
    assert key(conf("django"), [*ONE, ("valve", "django")]) == ""
    CredentialFactory(client=ClientFactory(client_id="pump"))
    assert key(conf("django"), ONE) == ""


def test_one_rule_that_allows_is_something_to_do() -> None:
    AclRule.objects.create(effect="deny", action="both", filter="#")
    assert key(conf("mock", acl=("django",))) == "auth.acl"
    AclRule.objects.create(effect="allow", action="both", filter="a/#")
    assert key(conf("mock", acl=("django",))) == ""
