"""The admin pages. They show what the operator may see and write by way of `services` alone."""

from __future__ import annotations

from apps.auth.admin import access, clients, records, rules

__all__ = ["access", "clients", "records", "rules"]
