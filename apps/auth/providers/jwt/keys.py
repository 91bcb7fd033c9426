"""The keys that tokens are checked with: one secret, or a JSON Web Key Set in a file that may change."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

import jwt
import jwt.algorithms

if TYPE_CHECKING:
    from gmqtt_platform.config.auth import JwtConf

logger = logging.getLogger(__name__)

KEY_TYPES: Final = {"HS256": "oct", "RS256": "RSA", "ES256": "EC"}
LOOK_EVERY: Final = 1.0  # seconds


class _Read(jwt.algorithms.HMACAlgorithm):
    """PyJWT asks at each token whether the secret looks like a public key; this one was asked when read."""

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode()


class NoKey(Exception):
    """No key fits the token."""


class Keys:
    """`version` changes whenever the keys do. A file that cannot be read leaves the keys as they were."""

    def __init__(self, conf: JwtConf) -> None:
        self._conf = conf
        self._keys: list[jwt.PyJWK] = []
        self._secret: jwt.PyJWK | None = None  # checked once, not at each token
        if conf.secret:
            k = jwt.utils.base64url_encode(conf.secret.encode()).decode()
            self._secret = jwt.PyJWK({"kty": "oct", "k": k}, "HS256")
            self._secret.Algorithm = _Read(jwt.algorithms.HMACAlgorithm.SHA256)
        self._stamp: tuple[int, int, int] | None = None
        self._looked = float("-inf")
        self.version = 0
        self.refresh()

    def refresh(self) -> None:
        """Read the file again if it changed; looks at most once in LOOK_EVERY seconds."""
        path = self._conf.jwks_file
        now = time.monotonic()
        if path is None or now - self._looked < LOOK_EVERY:
            return
        self._looked = now
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if stamp == self._stamp:
                return
            self._keys = _parsed(path.read_bytes(), self._conf.algorithms)
        except (OSError, ValueError, jwt.PyJWTError) as error:
            logger.error("%s cannot be read, the keys stay as they were: %s", path, error)
            return
        self._stamp = stamp
        self.version += 1

    @property
    def only(self) -> tuple[Any, str] | None:
        """The key and its algorithm where no token has a choice, so that its header need not be asked."""
        if self._conf.algorithms == ("HS256",) and self._secret is not None and not self._keys:
            return self._secret, "HS256"
        return None

    def find(self, header: dict[str, Any]) -> tuple[Any, str]:
        """The key and the algorithm for a token with this header. `NoKey` when there is none."""
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._conf.algorithms:
            raise NoKey("its algorithm is not allowed")
        fits = [key for key in self._keys if key.algorithm_name == algorithm]
        for key in fits:
            if key.key_id == kid or (kid is None and len(fits) == 1):
                return key.key, algorithm
        if algorithm == "HS256" and self._secret is not None and not fits:
            return self._secret, algorithm
        raise NoKey("no key has its id")


def _parsed(raw: bytes, algorithms: tuple[str, ...]) -> list[jwt.PyJWK]:
    """Those of the set's keys that an allowed algorithm can use; ValueError when it is no key set."""
    found = json.loads(raw)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise ValueError("not a JSON Web Key Set")
    by_type = {KEY_TYPES[algorithm]: algorithm for algorithm in algorithms}
    keys = []
    for each in found["keys"]:
        algorithm = by_type.get(str(each.get("kty"))) if isinstance(each, dict) else None
        if algorithm and each.get("use", "sig") == "sig" and each.get("alg", algorithm) == algorithm:
            keys.append(jwt.PyJWK(each, algorithm))
    return keys
