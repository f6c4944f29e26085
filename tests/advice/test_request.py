"""What levers share: the least raise, and the largest target that can be reached."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lopsided.advice.request import largest, least_raise


@pytest.mark.slow
@given(
    base=st.lists(st.floats(0.1, 3), min_size=4, max_size=4),
    slopes=st.lists(st.floats(0, 0.5), min_size=4, max_size=4),
    mass=st.lists(st.floats(0.1, 2), min_size=4, max_size=4),
)
def test_least_raise_is_the_least(base, slopes, mass):
    """Against plain iteration from below, which converges to the least solution or runs away."""
    start, slope, weight = map(np.array, (base, slopes, mass))
    assume(abs(slope @ weight - 1) > 0.05)
    found = least_raise(start, slope, weight)
    values = start.copy()
    for _ in range(5_000):
        before, values = values, np.maximum(start, slope * (weight @ values))
        if values.max() > 1e12:
            assert found is None
            return
        if np.allclose(before, values, rtol=1e-13, atol=0):
            break
    np.testing.assert_allclose(found, values, rtol=1e-9)


@given(st.floats(1e-6, 2.0))
def test_largest_finds_where_a_statement_ends(limit):
    found = largest(lambda value: value <= limit, 1.0)
    assert found == pytest.approx(min(limit, 1.0), rel=1e-9)
    assert largest(lambda value: False, 1.0) == 0.0
