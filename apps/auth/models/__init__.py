from __future__ import annotations

from apps.auth.models.access import IdempotentRequest, Role, ServiceAccount, UsedNonce
from apps.auth.models.clients import ALL_TRANSPORTS, Client, ClientGroup, Credential
from apps.auth.models.records import Change, Refusal
from apps.auth.models.rules import AclRule, Ban

__all__ = [
    "ALL_TRANSPORTS",
    "AclRule",
    "Ban",
    "Change",
    "Client",
    "ClientGroup",
    "Credential",
    "IdempotentRequest",
    "Refusal",
    "Role",
    "ServiceAccount",
    "UsedNonce",
]
