"""Many roots at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lopsided.theory.bracketing import roots_in_brackets

ROOTS = st.lists(st.floats(-50, 50), min_size=1, max_size=8).map(np.array)


@given(ROOTS, st.sampled_from([np.sinh, np.cbrt, np.arctan, lambda x: x**3, lambda x: np.sign(x) + x]))
def test_every_root_is_found_to_the_last_digits(roots, shape):
    found = roots_in_brackets(lambda x: shape(x - roots), np.full(len(roots), -60.0), np.full(len(roots), 70.0))
    np.testing.assert_allclose(found, roots, rtol=1e-14, atol=1e-15 * 100)


def test_few_evaluations_are_enough():
    calls = []

    def function(x):
        calls.append(1)
        return np.expm1(x - np.linspace(0.5, 9.5, 1000))

    roots_in_brackets(function, np.zeros(1000), np.full(1000, 20.0))
    assert len(calls) < 25


def test_a_root_at_an_end_and_none_at_all():
    ends = np.array([0.0, 10.0, 11.0, -1.0])
    found = roots_in_brackets(lambda x: x - ends, np.zeros(4), np.full(4, 10.0))
    np.testing.assert_array_equal(found, [0.0, 10.0, 10.0, 0.0])


def test_infinite_values_are_stepped_over():
    with np.errstate(divide="ignore"):
        found = roots_in_brackets(lambda x: np.log(x), np.zeros(1), np.full(1, 8.0))
    np.testing.assert_allclose(found, 1.0, rtol=1e-14)
