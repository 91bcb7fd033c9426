"""The tokens by which operators connect in the web client: what they allow, and what they are no good for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from guardian.shortcuts import assign_perm

from apps.auth import permissions, proofs
from apps.auth.models import ClientGroup
from apps.auth.providers import console
from apps.auth.providers.chain import Chain
from apps.auth.selectors import reach as reaching
from apps.auth.selectors.reach import reach, web_client_url
from apps.auth.services import operators
from apps.common import actors, rbac, sealing
from apps.common.errors import Unauthenticated
from apps.gateway.broker.ports import DENIED, NOTHING, PUBLISH_ALL, Verdict
from tests.apps.auth.chains import build, connect
from tests.apps.auth.factories import ClientFactory, CredentialFactory, GroupFactory, RuleFactory, UserFactory

ACL = [{"action": "subscribe", "filter": "a/#"}]


def token(**claims: Any) -> str:
    given = {"sub": "console-x-1", "name": "x", "exp": time.time() + 86_400, "acl": ACL} | claims
    return console.encode({name: value for name, value in given.items() if value is not None})


def signed(claims: dict[str, Any], key: Any = None, algorithm: str = "HS256") -> str:
    whole = {"iss": console.ISSUER, "aud": console.AUDIENCE, "sub": "console-x-1", "name": "x", "acl": ACL}
    whole |= {"exp": time.time() + 86_400} | claims
    key = sealing.key(console.ISSUER) if key is None else key
    return jwt.encode(whole, key, algorithm, headers={"kid": "gmqtt-console"})


async def ask(chain: Chain, token: str, client_id: str = "console-x-1") -> Verdict:
    chain.bans.take([])  # no database here
    return await chain.connect(connect(client_id, "whoever", token))


@pytest.fixture(params=["mock", "jwt"])
def chain(request: pytest.FixtureRequest) -> Iterator[Chain]:
    """With whatever is configured: the console's tokens need nothing."""
    acl = {"mock": "mock", "jwt": "jwt"}[request.param]
    return build(request.param, acl, jwt__secret="s" * 32)


async def test_a_token_lets_in_and_allows_what_it_says(chain: Chain) -> None:
    verdict = await ask(chain, token(exp=(end := time.time() + 60)))
    assert verdict.accepted
    assert (verdict.username, verdict.expires_at) == ("x", end)
    assert verdict.acl is not None
    assert verdict.acl.subscribe("a/b", 1) == 1
    assert verdict.acl.subscribe("b", 1) == DENIED  # though mock allows everything to everybody else
    assert verdict.acl.publish("a/b") == NOTHING
    await chain.close()


@pytest.mark.parametrize(
    ("bad", "client_id", "reason"),
    [
        (token(exp=time.time() - 60), "console-x-1", 0x87),
        (token(), "console-x-2", 0x87),
        (token(sub=None), "console-x-1", 0x86),
        (token(exp=None), "console-x-1", 0x86),
        (token(acl=None), "console-x-1", 0x87),
        (token(acl=[{"filter": "a", "effect": "maybe"}]), "console-x-1", 0x87),
        (signed({"iss": "gmqtt"}), "console-x-1", 0x86),
        (signed({"aud": "api"}), "console-x-1", 0x86),
        (signed({}, key="k" * 32), "console-x-1", 0x86),
        (signed({}, key="", algorithm="none"), "console-x-1", 0x86),
        (signed({}, key="k" * 64, algorithm="HS512"), "console-x-1", 0x86),
    ],
)
async def test_nothing_else_does_and_no_other_provider_is_asked(
    chain: Chain, bad: str, client_id: str, reason: int
) -> None:
    """Not even mock, which would let anybody in."""
    assert (await ask(chain, bad, client_id)).reason == reason
    await chain.close()


async def test_a_console_token_is_no_device_token_and_the_other_way_round(chain: Chain) -> None:
    device = jwt.encode({"sub": "alice-1", "exp": time.time() + 60}, "s" * 32, "HS256")
    assert (await ask(chain, device, "alice-1")).accepted
    with pytest.raises(Unauthenticated):
        proofs.by_token(token(), "api")
    await chain.close()


# ---------------------------------------------------------------- what a token says


def claims_of(issued: operators.OperatorToken) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        issued.token, sealing.key(console.ISSUER), ["HS256"], audience=console.AUDIENCE
    )
    return claims


def test_a_superuser_may_everything(alice: User) -> None:
    claims = claims_of(operators.issue(alice, "192.0.2.1"))
    assert {(rule["action"], rule["filter"]) for rule in claims["acl"]} == {
        ("subscribe", "#"),
        ("subscribe", "$SYS/#"),
        ("publish", "#"),
    }
    assert time.time() + 590 < claims["exp"] <= time.time() + 600
    entry = LogEntry.objects.get_for_object(alice).latest("id")
    assert (entry.actor, entry.remote_addr) == (alice, "192.0.2.1")


def test_an_operator_without_permissions_gets_none(charlie: User, bob: User) -> None:
    for user in (charlie, bob):  # to see and manage clients is not to read their messages
        with pytest.raises(PermissionDenied):
            operators.issue(user, "")


def test_his_own_client_id_is_gone_on_with_and_nobody_elses(alice: User) -> None:
    first = operators.issue(alice, "")
    assert first.client_id.startswith("console-alice-")
    assert operators.issue(alice, "", first.client_id).client_id == first.client_id
    mallory = UserFactory(username="alice-0123456789ab", is_superuser=True)
    for foreign in (
        operators.issue(mallory, "").client_id,
        "pump-1",
        "console-alice-x",
        first.client_id + "0",
    ):
        assert operators.issue(alice, "", foreign).client_id != foreign


async def subscribes(chain: Chain, issued: operators.OperatorToken, filter: str) -> int:
    verdict = await ask(chain, issued.token, issued.client_id)
    assert verdict.acl is not None
    return verdict.acl.subscribe(filter, 2)


@pytest.fixture
def cast(pumps: ClientGroup, charlie: User) -> User:
    """Charlie reads the group "pumps": device p1 and p2; p3 is in no group."""
    p1, p2 = ClientFactory(client_id="p1", groups=[pumps]), ClientFactory(client_id="p2", groups=[pumps])
    CredentialFactory(client=p1, username="user-1")
    p3 = ClientFactory(client_id="p3")
    RuleFactory(group=pumps, action="publish", filter="state/${clientid}/#", max_qos=1)
    RuleFactory(group=pumps, action="subscribe", filter="orders/${username}")
    RuleFactory(group=pumps, action="both", filter="#", effect="deny", priority=-9)
    RuleFactory(client=p1, action="publish", filter="state/p1/secret", effect="deny", priority=9)
    RuleFactory(client=p2, action="both", filter="shared/${group}")
    RuleFactory(client=p3, action="both", filter="foreign/#")
    RuleFactory(action="subscribe", filter="news/#")
    return charlie


def test_reading_a_group_reaches_what_its_clients_publish_and_subscribe(
    cast: User, pumps: ClientGroup
) -> None:
    assign_perm("read_members", cast, pumps)
    found = reach(actors.of_user(cast))
    assert not found.left_out
    allowed = [rule["filter"] for rule in found.rules if "effect" not in rule]
    assert sorted(allowed) == ["news/#", "orders/user-1", "shared/pumps", "state/p1/#", "state/p2/#"]
    assert {rule["action"] for rule in found.rules} == {"subscribe"}
    filters = [rule["filter"] for rule in found.rules]
    assert filters.index("state/p1/secret") < filters.index("state/p1/#")  # a denial stays one
    assert "#" not in filters  # one that would deny what other clients have does not


def test_commanding_a_group_reaches_what_its_clients_subscribe_to(cast: User, pumps: ClientGroup) -> None:
    assign_perm("command_members", cast, pumps)
    found = reach(actors.of_user(cast))
    assert {rule["action"] for rule in found.rules} == {"publish"}
    assert sorted(rule["filter"] for rule in found.rules) == ["news/#", "orders/user-1", "shared/pumps"]


async def test_a_group_token_at_the_node(chain: Chain) -> None:
    verdict = await ask(chain, token(acl=[{"action": "publish", "filter": "o/1", "max_qos": 2}]))
    assert verdict.acl is not None
    assert verdict.acl.publish("o/1") == PUBLISH_ALL
    assert verdict.acl.publish("o/2") == NOTHING
    await chain.close()


def test_what_does_not_fit_is_told(
    pumps: ClientGroup, charlie: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "MAX_RULES", 5)
    monkeypatch.setattr(reaching, "MAX_CLIENTS", 7)
    for _ in range(8):
        ClientFactory(groups=[pumps])
    RuleFactory(group=pumps, action="publish", filter="x/${clientid}")
    assign_perm("read_members", charlie, pumps)
    issued = operators.issue(charlie, "")
    assert (len(claims_of(issued)["acl"]), issued.left_out) == (5, 3)


def test_the_largest_token_fits_into_a_connect(pumps: ClientGroup, charlie: User) -> None:
    client = ClientFactory(groups=[pumps])
    for n in range(300):
        RuleFactory(group=None, client=ClientFactory(groups=[pumps]), filter=f"{n}/" + "ü" * 300)
    RuleFactory(client=client, filter="x")
    assign_perm("read_members", charlie, pumps)
    issued = operators.issue(charlie, "")
    assert issued.left_out > 0
    assert len(issued.token) < 65_535


def test_a_link_names_the_clients_topics_each_by_itself(pumps: ClientGroup) -> None:
    ClientFactory(client_id="a,b", groups=[pumps])
    RuleFactory(group=pumps, action="publish", filter="x/${clientid}/+")
    RuleFactory(group=pumps, action="publish", filter="no", effect="deny")
    assert web_client_url("a,b") == "/client/?connect=operator&topics=x%252Fa%252Cb%252F%252B"


def test_the_permissions_are_known() -> None:
    assert {permissions.READ_MESSAGES, permissions.PUBLISH_MESSAGES} <= rbac.PERMISSIONS
    assert GroupFactory._meta.model._meta.permissions[-2][0] in rbac.IN_A_GROUP[permissions.READ_MESSAGES]
