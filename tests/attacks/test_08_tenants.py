"""Point 8: what an operator may by his rights on a group stays inside the group's namespace.

Bob manages the group "acme", whose namespace is `acme` and `shared/acme`; Carol one without a namespace.
"""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied, ValidationError
from django.utils import timezone
from guardian.shortcuts import assign_perm

from apps.auth.absent import acl_of
from apps.auth.models import AclRule, Client, ClientGroup
from apps.auth.providers.decision import ClientAcl
from apps.auth.selectors.reach import reach
from apps.auth.services import groups, rules
from apps.cluster import services
from apps.cluster.models import SessionInfo
from apps.common.actors import SYSTEM, Actor, of_user
from apps.common.scopes import Scope
from apps.gateway.broker import ports
from apps.gateway.operator.operations import NodeOperations
from apps.gateway.operator.sessions import CommandRefused, SessionHandlers
from tests.apps.auth.chains import build
from tests.apps.auth.factories import ClientFactory, GroupFactory, RuleFactory, UserFactory
from tests.apps.gateway.support.doors import Listed
from tests.apps.gateway.support.world import World

RIGHTS = ("manage_members", "manage_rules", "read_members", "command_members")
INSIDE = ("acme", "acme/#", "acme/+/x", "acme/${clientid}/#", "shared/acme/1")
OUTSIDE = ("#", "+/#", "+", "other/#", "acme2/#", "+/x", "$SYS/#", "shared/#", "shared/+/1", "${clientid}/#")


def operator(name: str, group: ClientGroup) -> Actor:
    user = UserFactory(username=name, is_staff=True)
    for right in RIGHTS:
        assign_perm(right, user, group)
    return of_user(User.objects.get(pk=user.pk))


@pytest.fixture
def acme(db: None) -> ClientGroup:
    return GroupFactory(name="acme", namespace=["acme", "shared/acme"])


@pytest.fixture
def device(acme: ClientGroup) -> Client:
    return ClientFactory(client_id="acme-1", groups=[acme])


@pytest.fixture
def bob(acme: ClientGroup) -> Actor:
    return operator("bob", acme)


@pytest.fixture
def plain(db: None) -> ClientGroup:
    return GroupFactory(name="plain")


@pytest.fixture
def carol(plain: ClientGroup) -> Actor:
    return operator("carol", plain)


def make(actor: Actor, filter: str, **values: Any) -> AclRule:
    return rules.create(actor, **{"effect": "allow", "action": "both", "filter": filter} | values)


def code_of(error: pytest.ExceptionInfo[ValidationError]) -> str:
    (found,) = error.value.error_dict.values()
    return str(found[0].code)


@pytest.mark.parametrize("subject", ["client", "group"])
def test_rules_stay_inside(bob: Actor, acme: ClientGroup, device: Client, subject: str) -> None:
    target = {subject: device if subject == "client" else acme}
    for filter in INSIDE:
        assert make(bob, filter, **target).priority == -1
    for filter in OUTSIDE:
        with pytest.raises(ValidationError) as caught:
            make(bob, filter, **target)
        assert code_of(caught) == "outside_namespace"
    rule = make(bob, "acme/#", **target)
    with pytest.raises(ValidationError):
        rules.update(bob, rule, filter="#")
    with pytest.raises(PermissionDenied):
        make(bob, "acme/#")  # for everyone


@pytest.mark.django_db(transaction=True)
def test_priorities_have_a_ceiling_and_what_everyone_is_denied_stays_so(
    bob: Actor, acme: ClientGroup, device: Client
) -> None:
    RuleFactory(effect="deny", filter="acme/locked/#")
    for effect, highest in (("allow", -1), ("deny", 0)):
        make(bob, "acme/#", effect=effect, group=acme, priority=highest).delete()
        with pytest.raises(ValidationError) as caught:
            make(bob, "acme/#", effect=effect, group=acme, priority=highest + 1)
        assert code_of(caught) == "above_ceiling"
    make(bob, "acme/#", group=acme)

    async def ask() -> ClientAcl | None:
        chain = build("django")
        found = await acl_of(chain, "acme-1")
        await chain.close()
        return found

    acl = async_to_sync(ask)()
    assert acl is not None
    assert acl.publish("acme/x") == ports.PUBLISH_ALL
    assert acl.publish("acme/locked/x") == ports.NOTHING
    assert acl.subscribe("acme/#", 1) == ports.DENIED


def test_denials_of_others_are_not_his_to_lift(bob: Actor, acme: ClientGroup, device: Client) -> None:
    for theirs in (
        RuleFactory(effect="deny", filter="acme/x", group=acme, priority=5),
        RuleFactory(effect="deny", filter="other/#", client=device),
    ):
        with pytest.raises(PermissionDenied):
            rules.remove(bob, [theirs])
        with pytest.raises(PermissionDenied):
            rules.update(bob, theirs, effect="allow", filter="acme/#", priority=-1)


def test_without_a_namespace_no_more_than_there_is(carol: Actor, plain: ClientGroup) -> None:
    client = ClientFactory(groups=[plain])
    RuleFactory(filter="plain/#", group=plain, action="subscribe", max_qos=1)
    for target in ({"client": client}, {"group": plain}):
        make(carol, "plain/x", action="subscribe", max_qos=1, **target)
        make(carol, "#", effect="deny", **target)
        for filter, values in (
            ("#", {}),
            ("plain/x", {"action": "both", "max_qos": 1}),
            ("plain/x", {"action": "subscribe", "max_qos": 2}),
        ):
            with pytest.raises(ValidationError) as caught:
                make(carol, filter, **target, **values)
            assert code_of(caught) == "outside_namespace"
    with pytest.raises(PermissionDenied):
        rules.remove(carol, [RuleFactory(effect="deny", filter="plain/y", client=client)])


def test_who_has_the_right_everywhere_has_no_bounds(acme: ClientGroup, device: Client) -> None:
    assert make(SYSTEM, "#", group=acme, priority=100).priority == 100


@pytest.mark.parametrize(
    "bad", [["a/#"], ["+"], [""], ["a/"], ["$SYS"], ["${clientid}"], [1], ["x" * 300], ["x"] * 33]
)
def test_a_namespace_is_whole_levels(acme: ClientGroup, bad: Any) -> None:
    with pytest.raises(ValidationError):
        groups.update(SYSTEM, acme, namespace=bad)


def test_only_who_may_change_the_group_changes_its_namespace(bob: Actor, acme: ClientGroup) -> None:
    with pytest.raises(PermissionDenied):
        groups.update(bob, acme, namespace=[])


# ---------------------------------------------------------------- the web client


def test_tokens_stay_inside(bob: Actor, acme: ClientGroup, device: Client) -> None:
    """Rules that an administrator gave the devices reach further than their tenant's operator."""
    for filter in ("#", "+/+/state", "other/#", "acme/1"):
        RuleFactory(filter=filter, group=acme)
    found = {(claim["action"], claim["filter"]) for claim in reach(bob).rules}
    filters = {"acme/#", "shared/acme/#", "acme/+/state", "shared/acme/state", "acme/1"}
    assert found == {(action, filter) for action in ("subscribe", "publish") for filter in filters}


def test_without_a_namespace_what_the_clients_may(carol: Actor, plain: ClientGroup) -> None:
    RuleFactory(filter="plain/#", client=ClientFactory(groups=[plain]))
    assert {claim["filter"] for claim in reach(carol).rules} == {"plain/#"}


@pytest.mark.parametrize("filter", OUTSIDE)
def test_what_a_filter_has_inside_is_inside(filter: str) -> None:
    scope = Scope(("acme", "shared/acme"))
    assert not scope.covers(filter)
    assert all(scope.covers(each) for each in scope.inside(filter))


# ---------------------------------------------------------------- on behalf of a device


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reached the node."""
    heard: list[dict[str, Any]] = []

    def call(node: str, method: str, **arguments: Any) -> dict[str, Any]:
        heard.append({"method": method, **arguments})
        return {}

    monkeypatch.setattr(services.rpc, "call", call)
    return heard


def session_of(client_id: str) -> SessionInfo:
    return SessionInfo.objects.create(
        client_id=client_id, node="node-1", online=False, level=5, created_at=timezone.now()
    )


def test_subscriptions_on_behalf_stay_inside(bob: Actor, device: Client, asked: list[dict[str, Any]]) -> None:
    session = session_of(device.client_id)
    for filter in ("#", "other/#", "$share/g/#", "+/x"):
        with pytest.raises(PermissionDenied):
            services.subscribe(bob, session, filter, 1)
    assert asked == []
    for filter in ("acme/#", "$share/g/acme/1"):
        services.subscribe(bob, session, filter, 1)
    assert [each["filter"] for each in asked] == ["acme/#", "$share/g/acme/1"]


def test_replay_stays_inside(
    bob: Actor, device: Client, acme: ClientGroup, asked: list[dict[str, Any]]
) -> None:
    other = ClientFactory(groups=[acme])
    mine = session_of(device.client_id)
    services.replay_queue(bob, mine, session_of(other.client_id), 10)
    assert asked[0]["within"] == ["acme", "shared/acme"]
    theirs = ClientFactory()
    with pytest.raises(PermissionDenied):
        services.replay_queue(bob, session_of(theirs.client_id), mine, 1)


@pytest.fixture
def handlers() -> tuple[World, SessionHandlers]:
    world = World()
    return world, SessionHandlers(world.node, NodeOperations(world.node, world.clock), lambda key: key)


def away(world: World, *filters: str) -> None:
    client = world.join("device", clean=False, properties={0x11: 3600})
    for filter in filters:
        client.subscribe(filter, qos=1)
    client.drop()


async def test_the_rules_of_a_device_that_is_away_are_asked(handlers: tuple[World, SessionHandlers]) -> None:
    """The attack: subscribe an offline device to "#", and read everybody."""
    world, answers = handlers
    away(world)
    acl = Listed({}, {"#": ports.DENIED})

    async def acl_of(client_id: str) -> Any:
        return acl if client_id == "device" else None

    answers.acl_of = acl_of
    with pytest.raises(CommandRefused) as caught:
        await answers.subscribe("device", "#", 1)  # type: ignore[misc]
    assert caught.value.code == "not_authorized"
    assert await answers.subscribe("device", "own/#", 1) == {"qos": 1}  # type: ignore[misc]

    async def nobody(client_id: str) -> Any:
        raise ConnectionError("the database is away")

    for broken, code in ((nobody, "undecided"), (lambda client_id: gone(), "not_authorized")):
        answers.acl_of = broken
        with pytest.raises(CommandRefused) as caught:
            await answers.subscribe("device", "more/#", 1)  # type: ignore[misc]
        assert caught.value.code == code


async def gone() -> None:
    """The client may no longer connect."""


async def test_replay_gives_no_more_than_the_other_may_have(handlers: tuple[World, SessionHandlers]) -> None:
    world, answers = handlers
    away(world, "#")
    writer = world.join("writer")
    for topic in ("acme/1", "acme/2", "other/1", "acme"):
        writer.publish(topic, topic.encode(), 1)
    world.door.acl = Listed({}, {"acme/2": ports.DENIED})
    to = world.join("to")
    assert await answers.replay("device", "to", 10, ["acme"]) == {"replayed": 2, "denied": 2}
    world.turn()
    assert to.payloads() == [b"acme/1", b"acme"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("acl", ["jwt", "jwt,django", "django,jwt"])
async def test_a_token_that_nobody_has_allows_nothing(acl: str) -> None:
    await sync_to_async(ClientFactory)(client_id="acme-1")
    await sync_to_async(RuleFactory)(filter="a/#")
    chain = build("django", acl, jwt__secret="s" * 32)
    found = await acl_of(chain, "acme-1")
    assert found is not None
    assert found.subscribe("a/#", 1) == (1 if acl == "django,jwt" else ports.DENIED)
    assert found.subscribe("b/#", 1) == ports.DENIED
    await chain.close()
