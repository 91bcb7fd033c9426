"""Tokens: keys, algorithms, times, claims."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from apps.auth.providers.base import Rejection
from apps.auth.providers.chain import Chain
from apps.auth.providers.jwt import JwtClients, keys
from apps.auth.providers.jwt.claims import BadClaim, rules_of
from apps.gateway.broker.ports import PUBLISH_ALL, QOS_0, Verdict
from tests.apps.auth.chains import build, connect

SECRET = "s" * 32
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def claims(**more: Any) -> dict[str, Any]:
    return {"sub": "alice-1", "exp": time.time() + 60} | more


def token(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers={"kid": kid} if kid else None)


def jwk(key: Any, kid: str) -> dict[str, Any]:
    algorithm: Any = (
        jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    )
    return json.loads(algorithm.to_jwk(key.public_key())) | {"kid": kid}


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [jwk(RSA, "r1"), jwk(EC, "e1")]}))
    return file


async def verdict(chain: Chain, token: str, client_id: str = "alice-1") -> Verdict:
    chain.bans.take([])  # no database here
    return await chain.connect(connect(client_id, "whoever", token))


async def test_each_algorithm(jwks: Path) -> None:
    chain = build(
        "jwt", "jwt", jwt__secret=SECRET, jwt__jwks_file=str(jwks), jwt__algorithms="HS256,RS256,ES256"
    )
    for good in (token(), token(RSA, "RS256", "r1"), token(EC, "ES256", "e1"), token(EC, "ES256")):
        assert (await verdict(chain, good)).accepted
    for bad in (
        token(RSA, "RS256", "e1"),
        token(RSA, "RS256", "other"),
        token("x" * 32),
        token(RSA, "PS256", "r1"),
    ):
        assert (await verdict(chain, bad)).reason == 0x86
    await chain.close()


async def test_a_public_key_is_no_hmac_secret(jwks: Path) -> None:
    """The classic confusion: an HS256 token signed with the bytes of the RSA public key."""
    chain = build("jwt", "jwt", jwt__jwks_file=str(jwks), jwt__algorithms="RS256,HS256")
    public = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, _ = token("x" * 32, "HS256", "r1").split(".")
    signature = hmac.digest(public, f"{head}.{body}".encode(), "sha256")
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert (await verdict(chain, forged)).reason == 0x86
    await chain.close()


async def test_none_is_no_algorithm() -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET)
    unsigned = jwt.encode(claims(), None, "none")
    assert (await verdict(chain, unsigned + "AAAA")).reason == 0x86
    assert (await verdict(chain, unsigned)).reason == 0x86  # not even a token: nobody knows the password
    await chain.close()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"exp": time.time() - 60}, "expired"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"nbf": time.time() + 600}, "not yet valid"),
        ({"aud": "others"}, "audience"),
        ({"iss": "others"}, "issuer"),
    ],
)
async def test_times_audience_and_issuer(bad: dict[str, Any], why: str) -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET, jwt__audience="gmqtt", jwt__issuer="us", jwt__leeway="0")
    good = {"aud": "gmqtt", "iss": "us"}
    assert (await verdict(chain, token(**good))).accepted
    made = {key: value for key, value in (claims() | good | bad).items() if value is not None}
    answer = await verdict(chain, jwt.encode(made, SECRET))
    assert answer.reason == 0x86
    assert why in answer.reason_string.lower()
    await chain.close()


async def test_a_token_with_an_audience_is_not_for_whoever_names_none() -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET)
    assert (await verdict(chain, token(aud="others"))).reason == 0x86
    await chain.close()


async def test_the_client_id_is_in_the_token() -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET, jwt__client_id_claim="device")
    assert (await verdict(chain, token(device="d-1"), "d-1")).accepted
    for other in (token(device="d-2"), token(device=7), token(device=""), token()):
        assert (await verdict(chain, other, "d-1")).reason == 0x87
    await chain.close()


async def test_the_client_leaves_when_its_token_does() -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET)
    until = int(time.time()) + 60
    assert (await verdict(chain, token(exp=until))).expires_at == until
    await chain.close()


async def test_a_remembered_token_still_expires() -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET, jwt__leeway="0")
    short = token(exp=time.time() + 1)
    assert (await verdict(chain, short)).accepted
    await asyncio.sleep(1.1)
    assert (await verdict(chain, short)).reason == 0x86
    await chain.close()


async def test_keys_are_read_again_when_the_file_changes(jwks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "LOOK_EVERY", 0.0)
    chain = build("jwt", "jwt", jwt__jwks_file=str(jwks), jwt__algorithms="RS256,ES256")
    old, new_key = token(RSA, "RS256", "r1"), ec.generate_private_key(ec.SECP256R1())
    assert (await verdict(chain, old)).accepted
    fresh = jwks.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": [jwk(new_key, "e2")]}))
    os.replace(fresh, jwks)
    assert (await verdict(chain, token(new_key, "ES256", "e2"))).accepted
    assert (await verdict(chain, old)).reason == 0x86  # withdrawn, although it was remembered
    await asyncio.to_thread(jwks.write_text, "{ not JSON")
    assert (await verdict(chain, token(new_key, "ES256", "e2"))).accepted  # the keys stay as they were
    await chain.close()


async def test_claims_become_rules() -> None:
    chain = build("jwt", "jwt", jwt__secret=SECRET)
    acl = [
        {"filter": "d/${clientid}/#"},
        {"filter": "s", "action": "publish", "max_qos": 0, "retain": False},
        {"effect": "deny", "filter": "#"},
    ]
    found = (await verdict(chain, token(acl=acl))).acl
    assert found is not None
    assert found.publish("d/alice-1/x") == PUBLISH_ALL
    assert found.publish("s") == QOS_0
    assert found.publish("other") == 0
    await chain.close()


@pytest.mark.parametrize(
    "bad",
    [
        {"filter": "a"},
        [{"filter": "a/#/b"}],
        [{"filter": 7}],
        [{}],
        ["a"],
        [{"filter": "a", "effect": "perhaps"}],
        [{"filter": "a", "action": "read"}],
        [{"filter": "a", "max_qos": 3}],
        [{"filter": "a", "max_qos": True}],
        [{"filter": "a", "retain": 1}],
        [{"filter": "a", "topic": "b"}],
        [{"filter": "a"}] * 300,
    ],
)
async def test_bad_rules_keep_the_client_out(bad: Any) -> None:
    with pytest.raises(BadClaim):
        rules_of(bad)
    chain = build("jwt", "jwt", jwt__secret=SECRET)
    assert (await verdict(chain, token(acl=bad))).reason == 0x87
    await chain.close()


async def test_what_is_no_token_is_for_the_next_provider() -> None:
    chain = build("jwt,mock", "mock", jwt__secret=SECRET)
    assert (await verdict(chain, "password")).accepted
    assert (await verdict(chain, "eyJ" + "a" * 20_000 + ".b.c")).accepted
    assert (await verdict(chain, token("x" * 32))).reason == 0x86
    await chain.close()


async def test_a_wrong_signature_counts_as_a_guess() -> None:
    provider = build("jwt", "jwt", jwt__secret=SECRET).clients[-1]
    assert isinstance(provider, JwtClients)
    for bad, guessed in ((token("x" * 32), True), (token(exp=time.time() - 60), False)):
        outcome = await provider.connect(connect(password=bad))
        assert isinstance(outcome, Rejection)
        assert outcome.guessed is guessed
