"""What a client may do that is not connected: known by its id alone. For those who act for it."""

from __future__ import annotations

from apps.auth.acl import Subject
from apps.auth.facts import ConnectFacts
from apps.auth.providers.base import Identity, Layer
from apps.auth.providers.chain import Chain
from apps.auth.providers.decision import ClientAcl
from apps.gateway.broker.ports import DENIED, NOTHING, UNKNOWN

NAME = "absent"
CERTIFICATE = "${cert.cn}"


class _Undecided:
    """The rules of a token that nobody has: the answer is no."""

    def publish(self, topic: str) -> int:
        return NOTHING

    def subscribe(self, filter: str, qos: int) -> int:
        return DENIED


class _Unknown:
    """The same, where the answer can wait until the client brings its token."""

    def publish(self, topic: str) -> int:
        return UNKNOWN

    def subscribe(self, filter: str, qos: int) -> int:
        return UNKNOWN

    async def ask_publish(self, topic: str) -> int:
        return UNKNOWN

    async def ask_subscribe(self, filter: str, qos: int) -> int:
        return UNKNOWN


async def facts_of_absent(chain: Chain, client_id: str) -> tuple[ConnectFacts, Subject] | None:
    """What the database knows; None: it knows that the client may not connect. `Unavailable`."""
    facts = ConnectFacts(None, (), (), (), ())
    if chain.uses_database:
        facts = await chain.parts.registry.facts(client_id)
    if not chain.open and not chain.bans.loaded:
        await chain.load_bans()
    names = [each.username for each in facts.credentials if each.username and each.valid_until is None]
    subject = Subject(client_id, names[-1] if names else "", "", facts.groups)
    if not chain.open and chain.banned(client_id, subject.username, "") is not None:
        return None
    if (facts.client is None and chain.registered_only) or (facts.client and not facts.client.enabled):
        return None
    return facts, subject


async def acl_of(chain: Chain, client_id: str, patient: bool = False) -> ClientAcl | None:
    """None: it may not connect. What only its token or certificate tells is not allowed. `Unavailable`.

    `patient`: that is UNKNOWN instead, and None, too, where the rules ask for the name in a certificate.
    """
    found = await facts_of_absent(chain, client_id)
    if found is None:
        return None
    facts, subject = found
    if patient and any(CERTIFICATE in rule.filter for rule in facts.rules):
        return None
    token: Layer = _Unknown() if patient else _Undecided()
    identity = Identity(client_id, subject.username, "", "", "", NAME, subject.groups)
    layers: list[Layer] = []
    for provider in chain.acls:
        layer = token if provider.brought else await provider.layer(identity)
        if layer is not None:
            layers.append(layer)
    return ClientAcl(identity, tuple(layers), chain.parts.conf.acl_default)
