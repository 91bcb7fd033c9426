"""Rows for tests. A factory writes what a verb of services would have written, without its ceremony."""

from __future__ import annotations

from typing import Any

import factory
from django.contrib.auth.models import User
from django.utils import timezone

from apps.auth import passwords
from apps.auth.models import AclRule, Ban, Client, ClientGroup, Credential, Refusal, Role, ServiceAccount
from apps.auth.services.accounts import SIGNING
from apps.common import sealing

SECRET = "gmq_" + "x" * 43  # of every credential and service account made here


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = User

    username = factory.Sequence("user-{}".format)


class GroupFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = ClientGroup

    name = factory.Sequence("group-{}".format)


class ClientFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Client
        skip_postgeneration_save = True

    client_id = factory.Sequence("device-{}".format)

    @factory.post_generation
    def groups(self: Client, create: bool, given: Any, **kwargs: Any) -> None:
        if given:
            self.groups.set(given)


class CredentialFactory(factory.django.DjangoModelFactory):
    """Kind secret; for another one give its columns, and username=""."""

    class Meta:
        model = Credential

    client = factory.SubFactory(ClientFactory)
    kind = "secret"
    username = factory.LazyAttribute(
        lambda row: row.client.client_id if row.kind in ("secret", "password") else ""
    )
    secret = factory.LazyAttribute(
        lambda row: passwords.encode_generated(SECRET) if row.kind == "secret" else ""
    )


class RuleFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = AclRule

    effect = "allow"
    action = "both"
    filter = factory.Sequence("topic/{}".format)


class BanFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Ban

    kind = "client_id"
    value = factory.Sequence("banned-{}".format)


class RefusalFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = Refusal

    at = factory.LazyFunction(timezone.now)
    action = "connect"
    client_id = factory.Sequence("stranger-{}".format)
    address = "192.0.2.7"
    reason_code = 0x86


class AccountFactory(factory.django.DjangoModelFactory):
    """`roles`: names of roles that are there."""

    class Meta:
        model = ServiceAccount
        skip_postgeneration_save = True

    name = factory.Sequence("service-{}".format)
    access_key = factory.Sequence("gak_{:024d}".format)
    secret = factory.LazyFunction(lambda: passwords.encode_generated(SECRET))
    signing_key = factory.LazyFunction(lambda: sealing.seal(SIGNING, SECRET))

    @factory.post_generation
    def roles(self: ServiceAccount, create: bool, given: Any, **kwargs: Any) -> None:
        if given:
            self.roles.set(Role.objects.filter(name__in=given))
