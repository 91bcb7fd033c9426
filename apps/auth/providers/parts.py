"""What the providers of one chain share: each builder takes what it needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from apps.auth import discovery, kept
from apps.auth.kept import Kept
from apps.auth.passwords import Passwords
from apps.auth.providers.database import Database
from apps.auth.providers.registry import Registry
from apps.auth.rpc.client import RpcClient
from apps.auth.verifiers import Verifiers

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import AuthConf


class Parts:
    """What the providers of one chain share."""

    def __init__(self, conf: AuthConf, patience: float, data_dir: Path | None = None) -> None:
        """`patience`: seconds that a client waits for an answer. `data_dir`: there is kept, with
        `cache_grace`, what is known of clients.
        """
        self.conf = conf
        self.database = Database(conf.database_threads, patience)
        grace = conf.cache_grace * 60
        self.kept = Kept(data_dir / kept.NAME, conf.cache_size, grace) if data_dir and grace else None
        self.registry = Registry(
            self.database, conf.cache_size, conf.cache_ttl, conf.unknown_ttl, grace, kept=self.kept
        )
        self.passwords = Passwords(
            conf.password_threads, conf.password_queue, ttl=conf.cache_ttl, patience=patience
        )
        self.verifiers = Verifiers()
        self.on_forget: list[Callable[[list[str] | None], None]] = [self.registry.forget]
        # Connected clients that a provider could not be asked about; each function empties its list.
        self.unanswered: list[Callable[[], set[str]]] = []
        self._rpc: RpcClient | None = None

    @property
    def rpc(self) -> RpcClient:
        """The one client of the auth service; `has_rpc` where a provider uses it."""
        if self._rpc is None:
            directory = discovery.build(self.conf.discovery)
            self._rpc = RpcClient(self.conf.rpc, directory, max(1.0, self.conf.discovery.ttl / 5))
        return self._rpc

    @property
    def has_rpc(self) -> bool:
        return self._rpc is not None
