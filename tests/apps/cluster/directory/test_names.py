from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.cluster.directory import names


@given(st.text(max_size=600))
def test_what_fits_stays_and_the_rest_is_as_long_as_the_column(text: str) -> None:
    found = names.shortened(text, 256)
    assert found == text if len(text) <= 256 else len(found) == 256 and names.is_shortened(found, 256)


def test_long_texts_stay_apart() -> None:
    assert names.client_key("a" * 300) != names.client_key("a" * 301)


def test_a_shape_tells_where_the_wildcards_are() -> None:
    assert names.shape("a/+/c/#") == ".+.#"
    assert names.shape("#") == "#"
    assert names.shape("/+/") == ".+."
    assert names.shape("a+/b#") == ".."
