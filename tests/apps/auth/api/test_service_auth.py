"""How service accounts prove themselves to the API: tokens and signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.test import override_settings
from django.utils import timezone
from rest_framework.test import APIClient

from apps.auth import proofs
from apps.auth.models import Client, ServiceAccount, UsedNonce
from apps.common import sealing
from tests.apps.auth.api.conftest import token_of
from tests.apps.auth.factories import SECRET

pytestmark = pytest.mark.django_db
TOKEN = "/api/v1/auth/token"
CLIENTS = "/api/v1/clients/"


def bearer(token: str) -> APIClient:
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# ---------------------------------------------------------------- tokens


def test_a_token_for_access_key_and_secret(account: ServiceAccount) -> None:
    body = {"access_key": account.access_key, "secret": SECRET}
    answer = APIClient().post(TOKEN, body, format="json")
    assert answer["Cache-Control"] == "no-store"
    assert answer.json()["expires_in"] == 900
    assert bearer(answer.json()["access_token"]).get(CLIENTS).status_code == 200


def test_a_token_by_http_basic(account: ServiceAccount) -> None:
    pair = base64.b64encode(f"{account.access_key}:{SECRET}".encode()).decode()
    answer = APIClient().post(TOKEN, HTTP_AUTHORIZATION=f"Basic {pair}")
    assert answer.status_code == 200, answer.content


@pytest.mark.parametrize(
    "header", ["", "Basic", "Basic !!!", "Basic " + base64.b64encode(b"no colon").decode()]
)
def test_no_credentials(header: str) -> None:
    response = APIClient().post(TOKEN, HTTP_AUTHORIZATION=header)
    assert code(response) == (401, "no_credentials")
    assert response["WWW-Authenticate"].startswith("Basic ")


def test_wrong_key_and_wrong_secret_are_told_apart_by_nobody(account: ServiceAccount) -> None:
    answers = [
        APIClient().post(TOKEN, {"access_key": key, "secret": secret}, format="json")
        for key, secret in (
            (account.access_key, "gmq_" + "y" * 43),
            ("gak_none", SECRET),
            (account.access_key, ""),
        )
    ]
    assert [code(answer) for answer in answers[:2]] == [(401, "invalid_credentials")] * 2
    assert answers[0].content == answers[1].content
    assert answers[2].status_code == 400


def test_a_disabled_or_expired_account_gets_no_token_and_uses_none(account: ServiceAccount) -> None:
    token = token_of(account)
    account.enabled = False
    account.save()
    body = {"access_key": account.access_key, "secret": SECRET}
    assert code(APIClient().post(TOKEN, body, format="json")) == (401, "account_disabled")
    assert code(bearer(token).get(CLIENTS)) == (401, "account_disabled")
    account.enabled, account.expires_at = True, timezone.now() - timedelta(seconds=1)
    account.save()
    assert code(bearer(token).get(CLIENTS)) == (401, "account_expired")


def test_rotation_ends_every_token(account: ServiceAccount, api: APIClient) -> None:
    token = token_of(account)
    fresh = api.post(f"/api/v1/service-accounts/{account.pk}/rotate/").json()
    assert fresh["access_key"] == account.access_key
    assert code(bearer(token).get(CLIENTS)) == (401, "token_revoked")
    with pytest.raises(proofs.Unauthenticated):
        proofs.by_secret(account.access_key, SECRET)
    assert proofs.by_secret(account.access_key, fresh["secret"]).key == f"service:{account.pk}"
    assert fresh["secret"] not in api.get(f"/api/v1/service-accounts/{account.pk}/").content.decode()


def forged(account: ServiceAccount, key: bytes | None = None, **claims: Any) -> str:
    good = {
        "iss": "gmqtt",
        "aud": "api",
        "sub": account.access_key,
        "gen": account.generation,
        "iat": int(time.time()),
        "exp": int(time.time()) + 60,
    }
    return jwt.encode(good | claims, key or sealing.key("service token"), algorithm="HS256")


def test_tokens_that_do_not_hold(account: ServiceAccount) -> None:
    assert bearer(forged(account)).get(CLIENTS).status_code == 200
    header, body, signature = forged(account).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for token, wanted in (
        (forged(account, exp=int(time.time()) - 1), "token_expired"),
        (forged(account, aud="rpc"), "wrong_audience"),
        (token_of(account, "rpc"), "wrong_audience"),
        (forged(account, iss="someone"), "invalid_token"),
        (forged(account, key=b"x" * 32), "invalid_token"),
        (forged(account, sub="gak_none"), "token_revoked"),
        (f"{none}.{body}.", "invalid_token"),
        (f"{none}.{body}.{signature}", "invalid_token"),
        (f"{header}.{body}", "invalid_token"),
        ("", "invalid_token"),
        ("ü", "invalid_token"),
    ):
        response = bearer(token).get(CLIENTS)
        assert code(response) == (401, wanted), token
        assert response["WWW-Authenticate"].startswith("Bearer ")


def test_a_token_names_what_it_is_for(account: ServiceAccount) -> None:
    assert proofs.by_token(token_of(account, "rpc"), "rpc").name == "backend"
    body = {"access_key": account.access_key, "secret": SECRET, "audience": "other"}
    assert APIClient().post(TOKEN, body, format="json").status_code == 400


# ---------------------------------------------------------------- signatures


class Signer:
    """Signs as a service does that knows only what the documentation says."""

    def __init__(self, access_key: str, secret: str = SECRET) -> None:
        self.access_key = access_key
        self.secret = secret

    def header(self, method: str, path: str, body: bytes, timestamp: str, nonce: str) -> str:
        lines = [timestamp, nonce, method, path, hashlib.sha256(body).hexdigest()]
        signature = hmac.new(self.secret.encode(), "\n".join(lines).encode(), "sha256").hexdigest()
        given = f"key={self.access_key}, timestamp={timestamp}, nonce={nonce}, signature={signature}"
        return f"GMQTT-HMAC-SHA256 {given}"


NONCE: Iterator[str] = (f"nonce-{n:08}" for n in range(10**6))


def signed(
    account: ServiceAccount,
    method: str = "POST",
    path: str = CLIENTS,
    body: bytes = b"{}",
    age: int = 0,
    nonce: str = "",
    secret: str = SECRET,
    sent: dict[str, Any] | None = None,
) -> Any:
    """Signed as said, and sent as said, or with what `sent` (method, path, body, header) changes."""
    nonce = nonce or next(NONCE)
    header = Signer(account.access_key, secret).header(method, path, body, str(int(time.time()) - age), nonce)
    final = {"method": method, "path": path, "body": body, "header": header} | (sent or {})
    return APIClient().generic(
        final["method"],
        final["path"],
        final["body"],
        content_type="application/json",
        HTTP_AUTHORIZATION=final["header"],
    )


def test_a_signed_request(account: ServiceAccount) -> None:
    assert signed(account, body=b'{"client_id": "a"}').status_code == 201
    assert signed(account, "GET", CLIENTS + "?search=%C3%BC%20x&page_size=5", b"").status_code == 200


def test_a_replay_is_refused(account: ServiceAccount) -> None:
    assert signed(account, nonce="just-this-once").status_code == 201
    assert code(signed(account, nonce="just-this-once")) == (401, "replayed")
    assert Client.objects.count() == 1


def test_every_part_of_the_request_is_signed(account: ServiceAccount) -> None:
    for sent in (
        {"method": "GET"},
        {"path": "/api/v1/clients/bulk/"},
        {"path": CLIENTS + "?a=b"},
        {"body": b'{"client_id": "other"}'},
    ):
        assert code(signed(account, sent=sent)) == (401, "invalid_signature")
    assert code(signed(account, secret="gmq_" + "y" * 43)) == (401, "invalid_signature")
    assert not UsedNonce.objects.exists()


def test_an_old_or_future_request_is_refused(account: ServiceAccount) -> None:
    assert signed(account, age=200).status_code == 201
    for age in (301, -302, 10**6):
        assert code(signed(account, age=age)) == (401, "request_expired")


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "key=a",
        "key=a, timestamp=1, nonce=12345678, signature=0, more=1",
        "key=a, key=b, timestamp=1, nonce=12345678, signature=0",
        "key=a, timestamp=now, nonce=12345678, signature=0",
        "key=a, timestamp=1, nonce=short, signature=0",
        "key=a, timestamp=99999999999999, nonce=12345678, signature=0",
        "rubbish",
    ],
)
def test_headers_that_say_nothing(account: ServiceAccount, rest: str) -> None:
    header = f"GMQTT-HMAC-SHA256 {rest}"
    assert code(signed(account, sent={"header": header})) == (401, "invalid_signature")


def test_unknown_keys_and_disabled_accounts(account: ServiceAccount) -> None:
    account.access_key = "gak_none"
    assert code(signed(account)) == (401, "invalid_signature")
    account.refresh_from_db()
    account.enabled = False
    account.save()
    assert code(signed(account)) == (401, "account_disabled")


def test_under_another_secret_key_signatures_cannot_be_checked(account: ServiceAccount) -> None:
    with override_settings(SECRET_KEY="another" * 10):
        assert code(signed(account)) == (401, "cannot_check_signature")


def test_the_secret_is_nowhere_in_clear(account: ServiceAccount) -> None:
    assert SECRET not in json.dumps(list(ServiceAccount.objects.values()), default=str)


# ---------------------------------------------------------------- and nobody else


def test_a_session_needs_a_csrf_token(alice: Any) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(alice)
    assert client.get(CLIENTS).status_code == 200
    assert code(client.post(CLIENTS, {}, format="json")) == (403, "permission_denied")


def test_nobody_is_told_how_to_prove_himself() -> None:
    response = APIClient().get(CLIENTS)
    assert code(response) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Bearer realm="gmqtt", GMQTT-HMAC-SHA256'


def test_callers_are_slowed_down(account: ServiceAccount) -> None:
    body = {"access_key": "gak_none", "secret": SECRET}
    answers = [APIClient().post(TOKEN, body, format="json") for _ in range(61)]
    assert [answer.status_code for answer in answers[:60]] == [401] * 60
    assert code(answers[60]) == (429, "throttled")
    assert int(answers[60]["Retry-After"]) > 0
