"""The instances that the configuration names; nobody has to enter or leave."""

from __future__ import annotations


class StaticDirectory:
    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    def instances(self) -> set[str]:
        return set(self._addresses)

    def register(self, address: str) -> None: ...

    def renew(self) -> None: ...

    def withdraw(self) -> None: ...
