"""Client certificates, by registration and by common name."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async

from apps.auth.models import Credential
from apps.gateway.broker.ports import PUBLISH_ALL, Peer
from tests.apps.auth.chains import build, connect, register

PEER = Peer("192.0.2.1", 1, "tls", "CN=alice-1,O=Example", "alice-1")


async def test_the_common_name_is_the_client_id() -> None:
    chain = build("x509", "mock", x509__match="common_name")
    chain.bans.take([])
    verdict = await chain.connect(connect(username="somebody-else", peer=PEER))
    assert verdict.accepted
    assert verdict.username == "alice-1"  # what CONNECT says is not proved
    assert not (await chain.connect(connect("bob-1", peer=PEER))).accepted
    await chain.close()


@pytest.mark.django_db(transaction=True)
async def test_the_certificate_of_another_client_leaves_room_for_a_password() -> None:
    chain = build("x509,django", "mock")
    client, secret = await sync_to_async(register)()
    await Credential.objects.acreate(client=client, kind="x509", subject="CN=other")
    assert (await chain.connect(connect(password=secret, peer=PEER))).accepted
    assert not (await chain.connect(connect(password=None, peer=PEER))).accepted
    await chain.close()


@pytest.mark.django_db(transaction=True)
async def test_the_common_name_fills_its_placeholder() -> None:
    from apps.auth.models import AclRule

    chain = build("x509", "django")
    client, _ = await sync_to_async(register)()
    await Credential.objects.acreate(client=client, kind="x509", subject=PEER.tls_subject)
    await AclRule.objects.acreate(effect="allow", action="both", filter="c/${cert.cn}")
    acl = (await chain.connect(connect(peer=PEER))).acl
    assert acl is not None
    assert acl.publish("c/alice-1") == PUBLISH_ALL
    await chain.close()
