"""Point 10: no pair of providers lets strangers in, or lets everybody do everything, without saying so."""

from __future__ import annotations

import itertools

import pytest

from gmqtt_platform.config import providers
from gmqtt_platform.config.loader import ConfError, load

LOOPBACK = ("tcp://127.0.0.1:1883", "tcp://[::1]:1883", "tcp://localhost:1883")
PUBLIC = ("tcp://0.0.0.0:1883", "tcp://192.0.2.1:1883", "tcp://[::]:1883")
NEEDED = {"JWT__SECRET": "s" * 32, "RPC__ACCESS_KEY": "gak_x", "RPC__SECRET": "gmq_x"}
# Every provider alone, and every ordered pair of different ones.
CLIENTS = [each for n in (1, 2) for each in itertools.permutations(providers.names("auth.client"), n)]
ACLS = [each for n in (1, 2) for each in itertools.permutations(providers.names("auth.acl"), n)]


def start(client: tuple[str, ...], acl: tuple[str, ...], listen: str, **more: str) -> ConfError | None:
    keys = NEEDED | {"CLIENT": ",".join(client), "ACL": ",".join(acl)} | more
    environ = {f"GMQTT_AUTH__{key}": value for key, value in keys.items()}
    try:
        load(environ | {"GMQTT_LISTENERS__TCP": listen})
    except ConfError as error:
        return error
    return None


@pytest.mark.parametrize("client", CLIENTS, ids="+".join)
@pytest.mark.parametrize("acl", ACLS, ids="+".join)
def test_every_pair(client: tuple[str, ...], acl: tuple[str, ...]) -> None:
    for listen in LOOPBACK:
        assert start(client, acl, listen) is None
    for listen in PUBLIC:
        error = start(client, acl, listen)
        if "mock" in client:
            assert error is not None and "auth.client" in error.allowed
            assert "auth.allow_anonymous = true" in error.hint
        elif "mock" in acl:
            assert error is not None and "auth.acl" in error.allowed
            assert "auth.allow_all_topics = true" in error.hint and 'auth.acl = ["django"]' in error.hint
        else:
            assert error is None
        assert start(client, acl, listen, ALLOW_ANONYMOUS="true") is None
        said = start(client, acl, listen, ALLOW_ALL_TOPICS="true")
        assert (said is None) == ("mock" not in client)
        assert start(client, acl, listen, MOCK="failure") is None


@pytest.mark.parametrize("key", ["HTTP", "HTTPS", "TLS"])
def test_every_listener_counts(key: str) -> None:
    """TLS listeners need a certificate, which is asked for before; the plain ones show the rule."""
    address = {"HTTP": "0.0.0.0:8000", "HTTPS": "0.0.0.0:8443", "TLS": "mqtts://0.0.0.0:8883"}[key]
    with pytest.raises(ConfError):
        load({"GMQTT_AUTH__CLIENT": "django,mock", f"GMQTT_LISTENERS__{key}": address})


@pytest.mark.parametrize("chain", ["CLIENT", "ACL"])
def test_the_auth_service_beside_it(chain: str) -> None:
    given = {f"GMQTT_AUTH__SERVICE__{chain}": "django,mock", "GMQTT_AUTH__SERVICE__LISTEN": "0.0.0.0:50051"}
    with pytest.raises(ConfError) as caught:
        load(given)
    assert "auth.service.listen" in str(caught.value)
    load(given | {"GMQTT_AUTH__ALLOW_ANONYMOUS": "true"})
    load(given | {"GMQTT_AUTH__SERVICE__LISTEN": "127.0.0.1:0"})
