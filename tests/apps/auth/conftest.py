"""What the tests of auth share: what was announced, and the cast.

Alice is the superuser. Bob manages the clients of the group "pumps". Charlie has an account and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.contrib.auth.models import User
from guardian.shortcuts import assign_perm

from apps.auth import announce
from apps.auth.models import ClientGroup
from apps.common import actors
from apps.common.actors import Actor
from apps.common.signed import Reader
from tests.apps.auth.factories import GroupFactory, UserFactory

Announced = Callable[[], AbstractContextManager[list[dict[str, Any]]]]


@pytest.fixture
def announced(django_capture_on_commit_callbacks: Any) -> Announced:
    """`with announced() as heard:` — afterwards `heard` has what a node was told when the block committed."""
    layer = get_channel_layer()
    reader = Reader(announce.PURPOSE)

    async def hear(heard: list[dict[str, Any]]) -> None:
        waiting = layer.channels.get("test.auth")
        while waiting is not None and not waiting.empty():
            message = await layer.receive("test.auth")
            opened = reader.open(message["body"])
            assert opened is not None
            heard.append({"type": message["type"], **opened})

    @contextmanager
    def listen() -> Iterator[list[dict[str, Any]]]:
        heard: list[dict[str, Any]] = []
        async_to_sync(layer.group_add)(announce.GROUP, "test.auth")
        try:
            with django_capture_on_commit_callbacks(execute=True):
                yield heard
            async_to_sync(hear)(heard)
        finally:
            async_to_sync(layer.flush)()

    return listen


@pytest.fixture
def pumps(db: None) -> ClientGroup:
    return GroupFactory(name="pumps")


@pytest.fixture
def alice(db: None) -> User:
    return UserFactory(username="alice", is_staff=True, is_superuser=True)


@pytest.fixture
def bob(pumps: ClientGroup) -> User:
    user = UserFactory(username="bob", is_staff=True)
    for permission in ("view_members", "manage_members"):
        assign_perm(permission, user, pumps)
    return user


@pytest.fixture
def charlie(db: None) -> User:
    return UserFactory(username="charlie", is_staff=True)


@pytest.fixture
def as_alice(alice: User) -> Actor:
    return actors.of_user(alice, "192.0.2.1")


@pytest.fixture
def as_bob(bob: User) -> Actor:
    return actors.of_user(bob)


@pytest.fixture
def as_charlie(charlie: User) -> Actor:
    return actors.of_user(charlie)
