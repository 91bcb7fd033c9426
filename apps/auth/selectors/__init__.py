"""Reads. What an operator or service sees is limited here to what it may see."""

from __future__ import annotations

from apps.auth.selectors.connect import accounts, connect_facts, in_order
from apps.auth.selectors.visible import clients, credentials, groups, rules, username_of

__all__ = [
    "accounts",
    "clients",
    "connect_facts",
    "credentials",
    "groups",
    "in_order",
    "rules",
    "username_of",
]
