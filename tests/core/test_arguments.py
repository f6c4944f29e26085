"""What an argument may be, and what is said of others."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lopsided.core.arguments import check_choice, check_number, check_whole, is_number

ODD = [None, True, np.True_, "1", 1j, [1], math.nan, math.inf, -math.inf, np.float64("nan")]


@pytest.mark.parametrize("value", ODD)
def test_no_finite_number_is_refused_by_name(value):
    assert not is_number(value)
    with pytest.raises(ValueError, match=rf"^scale must be a finite number; got {re.escape(repr(value))}$"):
        check_number("scale", value)


@pytest.mark.parametrize("value", [*ODD, 1.0, np.int64(3)])
def test_no_whole_number_is_refused_by_name(value):
    with pytest.raises(ValueError, match=r"^epochs must be a whole number of at least 1; got "):
        check_whole("epochs", value)


def test_what_may_be_left_out_may_be_none():
    check_whole("batch_size", None, optional=True)
    with pytest.raises(ValueError, match=r"^batch_size must be a whole number of at least 2; got 1$"):
        check_whole("batch_size", 1, least=2, optional=True)


@pytest.mark.slow
@given(value=st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0, 1, -1]))
@pytest.mark.parametrize(
    ("bounds", "holds", "rule"),
    [
        ({"least": 0}, lambda x: x >= 0, "of at least 0"),
        ({"above": 0}, lambda x: x > 0, "above 0"),
        ({"least": 0, "below": 1}, lambda x: 0 <= x < 1, "in [0, 1)"),
        ({"above": 0, "most": 1}, lambda x: 0 < x <= 1, "in (0, 1]"),
    ],
)
def test_a_number_passes_where_its_bounds_hold(bounds, holds, rule, value):
    if holds(value):
        check_number("ramp", value, **bounds)
    else:
        message = f"ramp must be a finite number {rule}; got {value!r}"
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            check_number("ramp", value, **bounds)


def test_a_choice_is_told_with_all_of_them():
    check_choice("loader", "val", ("train", "val"))
    with pytest.raises(ValueError, match=r"^loader must be 'train' or 'val'; got 'test'$"):
        check_choice("loader", "test", ("train", "val"))
