import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.counts import LARGEST_COUNT

counts_lists = st.lists(st.integers(1, LARGEST_COUNT), min_size=2, max_size=40)
runs = st.lists(st.tuples(st.integers(1, 10**9), st.integers(1, 30)), min_size=1, max_size=10).filter(
    lambda terms: sum(times for _, times in terms) >= 2
)


@given(counts_lists)
def test_format_then_parse_is_the_identity(counts):
    np.testing.assert_array_equal(lp.parse_counts(lp.format_counts(counts)), counts)


@given(runs)
def test_parse_then_format_is_the_shortest_text_that_parses_the_same(terms):
    text = ",".join(f"{count}x{times}" for count, times in terms)
    parsed = lp.parse_counts(text)
    np.testing.assert_array_equal(parsed, [count for count, times in terms for _ in range(times)])
    shortest = lp.format_counts(parsed)
    assert len(shortest) <= len(text)
    np.testing.assert_array_equal(lp.parse_counts(shortest), parsed)


@pytest.mark.parametrize(
    "counts",
    ["500x2,100", " 500 x 2 , 100 ", "500X2,100x1", "500*2,100", "5e2x2,1e2", "500.0,500,100"],
)
def test_ways_of_writing_the_same_counts(counts):
    np.testing.assert_array_equal(lp.parse_counts(counts), [500, 500, 100])


@pytest.mark.parametrize(
    "counts",
    [[500, 500, 100], (500.0, 500.0, 100.0), np.array([500, 500, 100], dtype=np.uint16), range(500, 99, -400)],
)
def test_sequences_become_int64_vectors(counts):
    parsed = lp.parse_counts(counts)
    assert parsed.dtype == np.int64
    np.testing.assert_array_equal(parsed, list(counts))


def test_counts_are_held_exactly_up_to_the_largest():
    assert lp.parse_counts([LARGEST_COUNT, 1]).tolist() == [2**53, 1]


@pytest.mark.parametrize(
    ("counts", "rule", "received"),
    [
        ("", "at least two classes", "''"),
        ("   ", "at least two classes", "'   '"),
        ([], "at least two classes", "[]"),
        ("500", "at least two classes", "'500'"),
        ([500], "at least two classes", "[500]"),
        ("0x5,100", "positive", "0 for class 0"),
        ([100, 0], "positive", "0 for class 1"),
        ("100,-5", "positive", "-5 for class 1"),
        ("100,2.5", "whole numbers", "2.5 for class 1"),
        ("100,nan", "finite", "nan for class 1"),
        ("100,infx2", "finite", "inf for class 1"),
        ([100, np.inf], "finite", "inf for class 1"),
        ([100, 2**60], "at most 2**53", "1.152921504606847e+18 for class 1"),
        ("500y5", "COUNTxCLASSES", "'500y5'"),
        ("500x", "COUNTxCLASSES", "'500x'"),
        ("x5", "COUNTxCLASSES", "'x5'"),
        ("500x5,", "COUNTxCLASSES", "''"),
        ("500x2.5", "COUNTxCLASSES", "'500x2.5'"),
        ("500x5x5", "COUNTxCLASSES", "'500x5x5'"),
        ("500x0", "at least 1", "0 in '500x0'"),
        ("500x-1", "at least 1", "-1 in '500x-1'"),
        ("500x99999999999", "at most", "99999999999 in '500x99999999999'"),
        (["many", "few"], "numbers", "['many', 'few']"),
        ([None, 5], "finite", "nan for class 0"),
        ([[1, 2], [3]], "numbers", "[[1, 2], [3]]"),
        (None, "one list", "shape ()"),
        (500, "one list", "shape ()"),
        ([[500, 100]], "one list", "shape (1, 2)"),
    ],
)
def test_what_breaks_a_rule_is_named_with_the_rule(counts, rule, received):
    with pytest.raises(ValueError, match=r"^counts") as caught:
        lp.parse_counts(counts)
    message = str(caught.value)
    assert rule in message
    assert received in message
    assert "\n" not in message


def test_a_long_bad_value_is_cut_short():
    with pytest.raises(ValueError, match=r"\.\.\.$") as caught:
        lp.parse_counts(["a"] * 10_000)
    assert len(str(caught.value)) < 200
