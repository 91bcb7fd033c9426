"""schemathesis calls every operation as its schema says: no answer is a 500 or another than described."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, Phase, given, settings

from tests.apps.auth.api.conftest import token_of
from tests.apps.auth.api.schemas import CHECKS, EVERY, one_connection
from tests.apps.auth.factories import (
    AccountFactory,
    BanFactory,
    ClientFactory,
    CredentialFactory,
    GroupFactory,
    RefusalFactory,
    RuleFactory,
)

__all__ = ["one_connection"]

pytestmark = pytest.mark.django_db

# Decided by threads, which do not see this test's transaction; test_decide.py has real ones.
THREADED = {"/api/v1/auth/connect/", "/api/v1/auth/publish/", "/api/v1/auth/subscribe/"}

OPERATIONS = [one for one in EVERY if not one.path.startswith("/api/v1/cluster/")]  # those have nodes behind


@pytest.fixture
def pk(db: None) -> Callable[[str], int]:
    """The id of a row that is there, by the path that shows it."""
    group = GroupFactory()
    client = ClientFactory(groups=[group])
    rows = {
        "clients": client.pk,
        "groups": group.pk,
        "credentials": CredentialFactory(client=client).pk,
        "acl": RuleFactory(client=client).pk,
        "bans": BanFactory().pk,
        "service-accounts": AccountFactory().pk,
        "refusals": RefusalFactory().pk,
    }
    return lambda path: rows.get(path.split("/")[3], 1)


@pytest.mark.parametrize(
    "operation",
    [one for one in OPERATIONS if one.path not in THREADED],
    ids=lambda operation: operation.label,
)
def test_every_answer_is_one_that_the_schema_describes(
    operation: Any, roles: None, pk: Callable[[str], int]
) -> None:
    token = token_of(AccountFactory(roles=["admin"]))
    turn = count()

    @settings(
        max_examples=int(os.environ.get("FUZZ_EXAMPLES", "12")),
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def call(case: Any) -> None:
        cache.clear()  # what was asked so far does not slow down the rest
        case.cookies.clear()
        case.headers.pop("Authorization", None)
        if "id" in case.path_parameters and next(turn) % 2:
            case.path_parameters["id"] = pk(operation.path)
        response = case.call(headers={"Authorization": f"Bearer {token}", "Host": "localhost"})
        case.validate_response(response, checks=CHECKS)

    call()


def test_it_covers_the_api() -> None:
    assert len(OPERATIONS) > 40
