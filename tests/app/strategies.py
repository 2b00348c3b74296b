"""What Hypothesis makes up for the app layer."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

KEYS = st.sampled_from(["a", "b", "c", "a/b", "~", "~1", "", "0", "1", "-", "é"])
"""Few, so that they meet; with all that is special in a JSON Pointer."""

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.sampled_from([0.0, 1.0, 1.5, -2.25, 1e300]),
    st.text(max_size=3).filter(lambda text: text.isprintable()),
)

VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)

CONTAINERS: st.SearchStrategy[Any] = st.lists(VALUES, max_size=5) | st.dictionaries(
    KEYS, VALUES, max_size=5
)
