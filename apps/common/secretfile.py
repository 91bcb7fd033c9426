"""A secret in a file that only this user can read."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def secret_file(path: Path) -> str:
    """Its text; made at the first call. OSError."""
    if not path.exists():
        handle, draft = tempfile.mkstemp(dir=path.parent)  # mode 0600
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(48))
        try:
            os.link(draft, path)  # whole or not at all: of two processes that start together one wins
        except FileExistsError:
            pass
        finally:
            os.unlink(draft)
    return path.read_text()
