"""The memory of this process: how much it occupies, how much it may, and giving free pages back.

What the C library has freed it keeps for later: after 1,000 TLS clients had come and gone four times, 125 MB
of a node were such pages. They are given back here, and large blocks (uvloop has a buffer of 256 KiB for each
TLS connection) are mapped one by one, so that they go with their connection.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Final

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
LARGE: Final = 131_072  # bytes; blocks from here on are mapped. The library would raise that by itself
ARENAS: Final = 2  # heaps of the C library; it would make eight for each core, one for each thread
CGROUPS: Final = Path("/sys/fs/cgroup")
UNLIMITED: Final = 1 << 60  # bytes: cgroups say "no limit" by a number, too
_MMAP_THRESHOLD: Final = -3  # malloc.h: M_MMAP_THRESHOLD
_ARENA_MAX: Final = -8  # M_ARENA_MAX


MALLINFO2: Final = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks"),
    "keepcost",
)  # malloc.h


class _MallInfo(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_size_t) for name in MALLINFO2)


def _library() -> ctypes.CDLL | None:
    """The C library, where it is GNU's."""
    try:
        library = ctypes.CDLL("libc.so.6")
        library.mallinfo2.restype = _MallInfo
        library.malloc_trim.argtypes = [ctypes.c_size_t]
    except (OSError, AttributeError):
        return None
    return library


_libc: Final = _library()


def settle() -> None:
    """Map large blocks one by one, from now on. To be called before there are threads."""
    if _libc is not None:
        _libc.mallopt(_MMAP_THRESHOLD, LARGE)
        _libc.mallopt(_ARENA_MAX, ARENAS)


def rss() -> int:
    """Bytes of memory that the process occupies; some ten microseconds."""
    try:
        return _statm(1)
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def address_space() -> int:
    """Bytes that count against RLIMIT_AS, less those that the C library can give out again."""
    return _statm(0) - free()


def _statm(field: int) -> int:
    return int(Path("/proc/self/statm").read_text().split()[field]) * PAGE


def free() -> int:
    """Bytes that were freed and that the C library keeps; some of them are no pages any more. 0: unknown."""
    return int(_libc.mallinfo2().fordblks) if _libc is not None else 0


def give_back() -> None:
    """Give free pages back to the system. It takes milliseconds, so call it in a thread."""
    if _libc is not None:
        _libc.malloc_trim(0)


def limit() -> tuple[int, Callable[[], int]]:
    """Bytes that the system lets the process have, and what reads how much it has; 0: there is no limit.

    Of its cgroup's limit and RLIMIT_AS the one that leaves less.
    """
    given: list[tuple[int, Callable[[], int]]] = [(each, rss) for each in _cgroup_limits()]
    given.append((resource.getrlimit(resource.RLIMIT_AS)[0], address_space))
    found = [(most, read) for most, read in given if 0 < most < UNLIMITED]
    return min(found, key=lambda each: each[0] - each[1](), default=(0, rss))


def _cgroup_limits() -> list[int]:
    """Of the process's cgroup and those around it; version 2, or the memory controller of version 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = CGROUPS, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = CGROUPS / "memory", "memory.limit_in_bytes"
        else:
            continue
        place = root / path.lstrip("/")
        for each in (place, *place.parents):
            text = _text(each / name)
            if text.isdigit():
                found.append(int(text))
            if each == root:
                break
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
