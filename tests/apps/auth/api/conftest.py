"""Callers of the API: operators by their session, service accounts by a token."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from rest_framework.test import APIClient

from apps.auth import proofs
from apps.auth.models import Role, ServiceAccount
from apps.auth.services.accounts import write_builtin_roles
from tests.apps.auth.factories import SECRET, AccountFactory

Caller = Callable[[str], APIClient]


@pytest.fixture(autouse=True)
def fresh_throttles() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def roles(db: None) -> None:
    if not Role.objects.exists():  # a test with real transactions has emptied the tables
        write_builtin_roles("default")


@pytest.fixture
def account(roles: None) -> ServiceAccount:
    return AccountFactory(name="backend", roles=["admin"])


def token_of(account: ServiceAccount, audience: str = "api") -> str:
    return proofs.issue_token(account.access_key, SECRET, audience)


@pytest.fixture
def service(roles: None) -> Caller:
    """`service("viewer")`: a client with the token of an account with this role."""

    def make(role: str) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token_of(AccountFactory(roles=[role]))}")
        return client

    return make


def operator(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


@pytest.fixture
def api(alice: User) -> APIClient:
    """Alice at the API."""
    return operator(alice)


@pytest.fixture
def bobs(bob: User) -> APIClient:
    return operator(bob)


@pytest.fixture
def charlies(charlie: User) -> APIClient:
    return operator(charlie)
