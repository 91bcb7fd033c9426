"""The instances that the configuration names; nobody has to enter or leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import DiscoveryConf


class StaticDirectory:
    def __init__(self, addresses: tuple[str, ...]) -> None:
        self._addresses = addresses

    def instances(self) -> set[str]:
        return set(self._addresses)

    def register(self, address: str) -> None: ...

    def renew(self) -> None: ...

    def withdraw(self) -> None: ...


def build(conf: DiscoveryConf) -> StaticDirectory:
    return StaticDirectory(tuple(address.netloc for address in conf.addresses))
