"""What a node keeps on its own disk: the secret key that signs sessions, and the SQLite database."""

from __future__ import annotations

import os
from pathlib import Path

from apps.common.secretfile import secret_file
from gmqtt_platform.config import loader
from gmqtt_platform.config.loader import Conf
from gmqtt_platform.config.values import shown

SECRET_KEY = "GMQTT_SECRET_KEY"  # noqa: S105  # an environment variable; with _FILE appended: the path of a file
FALLBACKS = "GMQTT_SECRET_KEY_FALLBACKS"  # the same
MIN_KEY = 32  # characters


def prepare(conf: Conf) -> str:
    """Make the data directory if need be; answer the secret key.

    It is GMQTT_SECRET_KEY, or the contents of the file that GMQTT_SECRET_KEY_FILE names, or else the file
    secret_key of the data directory, generated at the first start.
    """
    given = loader.secret(os.environ, SECRET_KEY)
    if given is not None and len(given) < MIN_KEY:
        raise loader.ConfError(SECRET_KEY, "", f"{len(given)} characters", f"at least {MIN_KEY} characters")
    directory = conf.node.data_dir
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not conf.database.url:  # SQLite would create it readable for everyone
            os.close(os.open(database_file(conf), os.O_CREAT | os.O_RDWR, 0o600))
        return given if given is not None else secret_file(directory / "secret_key")
    except OSError as error:
        found = f"{shown(str(directory))} ({error.strerror})"
        raise conf.error("node.data_dir", found, "a directory this user can create and write to") from None


def old_secret_keys(conf: Conf) -> list[str]:
    """Keys that were replaced and are still accepted, separated by white space.

    Those of GMQTT_SECRET_KEY_FALLBACKS, or of the file that GMQTT_SECRET_KEY_FALLBACKS_FILE names, and those
    of the file secret_key_fallbacks of the data directory, which is the operator's.
    """
    given = (loader.secret(os.environ, FALLBACKS) or "").split()
    short = [key for key in given if len(key) < MIN_KEY]
    if short:
        found = f"a key of {len(short[0])} characters"
        raise loader.ConfError(FALLBACKS, "", found, f"keys of at least {MIN_KEY} characters")
    try:
        return given + (conf.node.data_dir / "secret_key_fallbacks").read_text().split()
    except FileNotFoundError:
        return given
    except (OSError, ValueError) as error:
        found = f"secret_key_fallbacks ({error})"
        raise conf.error("node.data_dir", found, "a file with one key a line") from None


def database_file(conf: Conf) -> Path:
    return conf.node.data_dir / "db.sqlite3"


def sessions_file(conf: Conf) -> Path:
    return conf.node.data_dir / "sessions.sqlite3"
