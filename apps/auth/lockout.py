"""Would a configuration that is valid lock everybody out? Asked before it comes in force while a node runs.

What counts as everybody: whoever could connect, or of those who are connected now whoever could come back.
A password or a token that nobody shows cannot be checked, so who has a credential of the right kind is taken
to know it. At a start nothing of this is asked: a node may begin closed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from django.db.models import Q
from django.utils import timezone

from apps.auth.models import AclRule, Credential

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import AuthConf

LOOKED_AT: Final = 1000  # clients that are connected

# Provider -> what a credential that it takes looks like.
_PROVED_BY: Final = {
    "django": Q(kind__in=("secret", "password")),
    "scram": ~Q(scram=""),
    "x509": Q(kind="x509"),
    "jwt": Q(kind="jwt"),
}


def why(
    auth: AuthConf, takes_certificates: bool, connected: Iterable[tuple[str, str]]
) -> tuple[str, str] | None:
    """The key and the reason, or None: somebody gets in. Asks the database; run it off the loop.

    `takes_certificates`: do clients show certificates? `connected`: client id of the row, and provider, of
    each who is here now, but not the web client's operators.
    """
    found = _of_mock(auth) or _of_guard(auth)
    return found or _of_clients(auth, takes_certificates, connected) or _of_rules(auth)


def _of_mock(auth: AuthConf) -> tuple[str, str] | None:
    if auth.mock == "failure":
        if auth.client[0] == "mock":
            return "auth.client", 'mock is asked first and auth.mock is "failure": it refuses every client'
        if auth.acl[0] == "mock":
            return "auth.acl", 'mock is asked first and auth.mock is "failure": it denies every topic'
    return None


def _of_guard(auth: AuthConf) -> tuple[str, str] | None:
    if auth.guard.connects_per_client == 1 and auth.guard.ban_seconds:
        return "auth.guard.connects_per_client", "1 bans every client at its first connect"
    return None


def _of_clients(
    auth: AuthConf, takes_certificates: bool, connected: Iterable[tuple[str, str]]
) -> tuple[str, str] | None:
    """Where every provider asks the database somebody has to stand there."""
    chain = set(auth.client)
    if chain == {"x509"} and not takes_certificates:
        return "auth.client", "x509 alone is asked, and listeners.tls_client_auth is none"
    if chain - set(_PROVED_BY) or ("jwt" in chain and not auth.jwt.registered):
        return None
    if "x509" in chain and auth.x509.match == "common_name":
        return None
    fits = Q(pk__in=())
    for name in chain:
        fits |= _PROVED_BY[name]
    valid = Q(valid_until=None) | Q(valid_until__gt=timezone.now())
    found = Credential.objects.filter(fits, valid, client__enabled=True)
    if not found.exists():
        return "auth.client", f"no client has a credential that {', '.join(auth.client)} would take"
    here = list(connected)[:LOOKED_AT]
    back = {client_id for client_id, provider in here if provider.partition(":")[0] in chain}
    if here and not back:
        names = [client_id for client_id, _ in here]
        if not found.filter(client__client_id__in=names).exists():
            text = f"none of the {len(here)} clients that are connected has a credential for it"
            return "auth.client", text
    return None


def _of_rules(auth: AuthConf) -> tuple[str, str] | None:
    if auth.acl_default == "allow" or set(auth.acl) != {"django"}:
        return None
    if AclRule.objects.filter(effect="allow").exists():
        return None
    return "auth.acl", 'no access rule allows anything, and auth.acl_default is "deny"'
