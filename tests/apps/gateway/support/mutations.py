"""Hypothesis strategies: byte streams that are nearly MQTT."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.vectors import BAD, GOOD

_BY_LEVEL = {
    level: sorted(
        {vector.bytes for vector in (*GOOD, *BAD) if vector.level == level and len(vector.bytes) < 300}
    )
    for level in (3, 4, 5)
}


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a byte changed, taken out or put in, cut, or with its length put right after a cut."""
    index = draw(st.integers(0, len(data) - 1))
    byte = bytes((draw(st.integers(0, 255)),))
    kind = draw(st.sampled_from(("none", "set", "delete", "insert", "cut", "trim")))
    if kind == "set":
        return data[:index] + byte + data[index + 1 :]
    if kind == "delete":
        return data[:index] + data[index + 1 :]
    if kind == "insert":
        return data[:index] + byte + data[index:]
    if kind == "cut":
        return data[:index]
    if kind == "trim" and 2 <= index < 130 and data[1] < 128:
        return bytes((data[0], index - 2)) + data[2:index]
    return data


def packets(level: int) -> st.SearchStrategy[bytes]:
    """One packet of the vectors, good or bad, mutated or not."""
    return st.sampled_from(_BY_LEVEL[level]).flatmap(mutated)


def streams(level: int) -> st.SearchStrategy[bytes]:
    return st.lists(
        st.one_of(packets(level), packets(level), st.binary(max_size=8)), min_size=2, max_size=10
    ).map(b"".join)


@st.composite
def segments(draw: st.DrawFn, level: int) -> list[bytes]:
    """A stream in random pieces."""
    data = draw(streams(level))
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
