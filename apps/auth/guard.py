"""The door before the door: bans, limits on guessing, limits on flapping. All in memory, none of it waits."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any, Final, TypeVar

from django.utils import timezone

from apps.auth.bans import networks, pattern_fits
from apps.auth.facts import BanFacts
from apps.auth.models import Ban
from apps.auth.providers.base import Rejection
from apps.gateway.mqtt import reasons

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import GuardConf

K = TypeVar("K")
V = TypeVar("V")

LONG: Final = 128  # characters of a name; longer ones are known by a digest
COUNTED: Final = 400  # bytes that a key costs
MAX_KEYS: Final = 100_000  # addresses, credentials and client ids that are counted at the same time
AT_HOME: Final = 10  # times as many wrong secrets are taken from where a credential succeeded last
MAX_OF_ONE: Final = (
    10  # wrong secrets of one credential that count to its address, without failures_per_client
)


class BanList:
    """Every ban that is active, as `load` last read it."""

    def __init__(self) -> None:
        self.loaded = False
        self.version = 0
        self._exact: dict[tuple[str, str], BanFacts] = {}
        self._patterns: list[BanFacts] = []
        self._addresses = False

    def take(self, bans: list[BanFacts]) -> None:
        self._exact = {(ban.kind, ban.value): ban for ban in bans if ban.kind != "pattern"}
        self._patterns = [ban for ban in bans if ban.kind == "pattern"]
        self._addresses = any(ban.kind == "address" for ban in bans)
        self.loaded = True
        self.version += 1

    def add(self, ban: BanFacts) -> None:
        self.take([*self._exact.values(), *self._patterns, ban])

    def find(self, client_id: str, username: str, address: str) -> BanFacts | None:
        """The ban that fits and has not run out."""
        exact = self._exact
        if exact:
            fits = [exact.get(("client_id", client_id)), exact.get(("username", username))]
            if self._addresses:
                fits += [exact.get(("address", network)) for network in networks(address)]
            for ban in fits:
                if ban is not None and _lasts(ban):
                    return ban
        for ban in self._patterns:
            if pattern_fits(ban.value, client_id) and _lasts(ban):
                return ban
        return None

    def __len__(self) -> int:
        return len(self._exact) + len(self._patterns)


def _lasts(ban: BanFacts) -> bool:
    return ban.until is None or ban.until > time.time()


def active_bans() -> list[BanFacts]:
    """One query; run it off the loop."""
    rows = Ban.objects.order_by("id").values_list("id", "kind", "value", "until", "reason")
    now = timezone.now()
    return [
        BanFacts(id, kind, value, until.timestamp() if until else None, reason)
        for id, kind, value, until, reason in rows
        if until is None or until > now
    ]


class Guard:
    """Counts wrong secrets per credential and address, and per address; and connects per client id.

    A credential is known by its user name, or without one by the client id. It is refused at the address from
    which it was guessed at, and nowhere else; at the address where it succeeded last it takes ten times as
    many wrong secrets, so that a neighbour's guesses do not lock its owner out. In an address's count a
    credential has `failures_per_client` at most: a few devices with an old password do not ban all behind a
    NAT. Addresses in `exempt` hide many clients: neither counted nor banned. Neither is a trusted proxy's own
    address; but whoever comes through one has an address of his own (`proxied`), which counts, even if it
    lies in the proxies' network.
    """

    def __init__(self, conf: GuardConf, clock: Callable[[], float] = time.monotonic) -> None:
        self._conf = conf
        self.ban: Callable[[BanFacts], None] = lambda ban: None  # makes an automatic ban known and lasting
        self._clock = clock
        self._by_address: dict[str, _Window] = {}
        self._by_client: dict[tuple[str, str], _Window] = {}  # credential and address
        self._connects: dict[str, _Window] = {}
        self._home: dict[str, str] = {}  # credential -> address of its last success
        self._exempt: dict[str, bool] = {}
        self._proxies: dict[str, bool] = {}
        self.counts: Counter[str] = Counter()

    def reconfigure(self, conf: GuardConf) -> None:
        """What was counted stays."""
        self._conf = conf
        self._exempt.clear()

    def refusal(self, name: str, address: str) -> Rejection | None:
        """Is it one attempt too many? `name` is the user name that came, or the client id."""
        now, name = self._clock(), _short(name)
        window = self._by_address.get(address)
        if window is not None and self._full(window, self._conf.failures_per_address, now):
            self.counts["address"] += 1
            return _TOO_MANY_BY_ADDRESS
        pair = self._by_client.get((name, address))
        limit = self._conf.failures_per_client
        if self._home.get(name) == address:
            limit *= AT_HOME
        if pair is not None and self._full(pair, limit, now):
            self.counts["client"] += 1
            return _TOO_MANY_FOR_CLIENT
        return None

    def failed(self, name: str, address: str, proxied: bool = False) -> None:
        """A wrong secret came. `proxied`: a trusted proxy says that it is from this address."""
        now, name = self._clock(), _short(name)
        conf = self._conf
        count = self._count(self._by_client, (name, address), now)
        if not conf.failures_per_address or not address:
            return
        if self.exempts(address) or (not proxied and self._is_proxy(address)):
            return
        if count > (conf.failures_per_client or MAX_OF_ONE):
            return
        count = self._count(self._by_address, address, now)
        if count == conf.failures_per_address and conf.ban_seconds:
            text = f"{count} wrong secrets in {conf.window} s"
            self._banned("address", networks(address)[-1:], text)

    def succeeded(self, client_id: str, address: str, username: str = "") -> None:
        """The client was let in."""
        conf = self._conf
        if conf.failures_per_client and address:
            _remember(self._home, _short(username or client_id), address)
        if conf.connects_per_client:
            count = self._count(self._connects, _short(client_id), self._clock())
            if count == conf.connects_per_client and conf.ban_seconds:
                text = f"flapping: {count} connects in {conf.window} s"
                self._banned("client_id", (client_id,), text)

    def memory(self) -> int:
        """Bytes of what is counted, roughly."""
        counted: tuple[Sized, ...] = (
            self._by_address,
            self._by_client,
            self._connects,
            self._home,
            self._exempt,
            self._proxies,
        )
        return COUNTED * sum(map(len, counted))

    def exempts(self, address: str) -> bool:
        return _is_in(address, self._conf.exempt, self._exempt)

    def _is_proxy(self, address: str) -> bool:
        return _is_in(address, self._conf.proxies, self._proxies)

    def _banned(self, kind: str, values: tuple[str, ...], text: str) -> None:
        for value in values:
            self.counts["ban"] += 1
            self.ban(BanFacts(0, kind, value, time.time() + self._conf.ban_seconds, text))

    def _full(self, window: _Window, limit: int, now: float) -> bool:
        return 0 < limit <= window[1] and now < window[0] + self._conf.window

    def _count(self, windows: dict[K, _Window], key: K, now: float) -> int:
        window = windows.get(key)
        if window is None or now >= window[0] + self._conf.window:
            windows.pop(key, None)
            window = [now, 0]
            _remember(windows, key, window)
        window[1] += 1
        return int(window[1])


_Window = list[float]  # start, count

_TOO_MANY_BY_ADDRESS = Rejection(reasons.CONNECTION_RATE_EXCEEDED, "too many wrong secrets from this address")
_TOO_MANY_FOR_CLIENT = Rejection(reasons.CONNECTION_RATE_EXCEEDED, "too many wrong secrets for this client")


def _short(text: str) -> str:
    """The text, or of a long one a digest: who counts strangers' names must not keep them whole."""
    return text if len(text) <= LONG else hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _is_in(address: str, these: Iterable[Any], known: dict[str, bool]) -> bool:
    """Is the address in one of the networks? `known` remembers."""
    found = known.get(address)
    if found is None:
        around = networks(address)
        found = any(str(network) in around for network in these)
        _remember(known, address, found)
    return found


def _remember(known: dict[K, V], key: K, value: V) -> None:
    if len(known) >= MAX_KEYS and key not in known:
        del known[next(iter(known))]
    known[key] = value
