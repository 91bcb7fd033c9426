"""Reads. What an operator or service sees is limited here to what it may see."""

from __future__ import annotations

from apps.auth.selectors.connect import connect_facts

__all__ = ["connect_facts"]
