import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.core.counts import LARGEST_COUNT, parse_counts, profile_counts

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
    with pytest.raises(ValueError, match=r" …$") as caught:
        lp.parse_counts(["a"] * 10_000)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The sizes of CIFAR10-LT and CIFAR100-LT at ratio 100 that Cao et al. (2019) train on: 12 406 and 10 847.
        ("exp:5000x10:100", [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        ("step:500x4:10", [500, 500, 50, 50]),
        ("step:500x5:10:0.2", [500, 500, 500, 500, 50]),
        ("PARETO:100x4:1", [100, 50, 33, 25]),
        ("exp:7x3:1", [7, 7, 7]),
    ],
)
def test_profiles(text, expected):
    assert parse_counts(text).tolist() == expected


def test_the_long_tail_of_a_hundred_classes_has_the_published_size():
    assert parse_counts("exp:5000x10:100").sum() == 12406
    assert parse_counts("exp:500x100:100").sum() == 10847


@given(st.integers(50, 10**6), st.integers(2, 200), st.floats(1, 50), st.sampled_from(["exp", "step"]))
def test_a_profile_falls_from_the_largest_class_to_the_ratio(largest, classes, ratio, kind):
    counts = profile_counts(kind, largest, classes, ratio)
    assert len(counts) == classes
    assert counts[0] == largest
    assert counts == sorted(counts, reverse=True)
    assert abs(counts[-1] - largest / ratio) <= 1
    if kind == "exp" and classes > 2:
        exact = [largest * ratio ** (-k / (classes - 1)) for k in range(classes)]
        assert max(abs(found - true) for found, true in zip(counts, exact, strict=True)) <= 1


@given(st.integers(1000, 10**6), st.integers(2, 60), st.floats(0.7, 9))
def test_the_pareto_profile_has_its_rank_size_rule(largest, classes, shape):
    """The k-th largest of many draws of shape a falls as k^(−1/a): twice the rank, 2^(−1/a) the size."""
    counts = profile_counts("pareto", largest, classes, shape)
    for rank in range(1, classes // 2 + 1):
        assert abs(counts[2 * rank - 1] - counts[rank - 1] * 2 ** (-1 / shape)) <= 2


@pytest.mark.parametrize("content", ["500\n300\n100\n", "500, 300,100", "500;300 100", "\ufeff500x1,300\n100"])
def test_a_file_of_counts(tmp_path, content):
    (tmp_path / "counts.txt").write_text(content, encoding="utf-8")
    assert parse_counts(f"@{tmp_path}/counts.txt").tolist() == [500, 300, 100]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "exp:500:10",
            r"counts must be exp:LARGESTxCLASSES:RATIO, .*; got 'exp:500:10'; write such as exp:5000x10:100",
        ),
        ("exp:500x3:10:2", "counts must be exp:LARGEST.*; got 'exp:500x3:10:2'"),
        ("exp:500x3:ten", "counts must be exp:LARGEST.*; got 'exp:500x3:ten'"),
        ("zipf:500x3:2", "counts must have a profile that is exp, step or pareto; got 'zipf'"),
        ("exp:500x1:2", "counts must have at least 2 and at most .* classes in a profile; got 1"),
        ("exp:500x3:0.01", "a ratio, largest class over smallest, of at least 1, in exp; got 0.01"),
        ("pareto:500x3:0", "counts must have a shape above 0, in pareto; got 0"),
        ("step:500x3:nan", "a ratio, largest class over smallest, of at least 1, in step; got nan"),
        ("step:500x4:10:1", r"a share of rare classes in \(0, 1\), in step; got 1"),
        (
            "exp:50x3:100",
            "must keep a sample in every class of a profile; got 0 in the smallest, where the largest has 50; lower",
        ),
        ("@no-such-file", "counts must be in a readable text file; got '@no-such-file': No such file"),
    ],
)
def test_profiles_that_cannot_be_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_counts(text)
