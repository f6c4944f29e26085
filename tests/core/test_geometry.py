import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import lopsided as lp
from lopsided.core.comparison import COMPARED
from lopsided.core.geometry import MERGE_ABSOLUTE_TOLERANCE, MERGE_RELATIVE_TOLERANCE, merged_classes
from metrics import twins

entries = st.floats(-10, 10).map(lambda value: round(value, 6))


@st.composite
def geometries(draw):
    num_classes, dim = draw(st.integers(2, 6)), draw(st.integers(1, 5))
    return lp.Geometry(
        counts=draw(arrays(np.int64, num_classes, elements=st.integers(1, 1000))),
        class_means=draw(arrays(np.float64, (num_classes, dim), elements=entries)),
        classifier=draw(arrays(np.float64, (num_classes, dim), elements=entries)),
        bias=draw(arrays(np.float64, num_classes, elements=entries)),
    )


def simplex(num_classes, scale=5.0):
    return scale * (np.eye(num_classes) - 1 / num_classes)


@pytest.mark.slow
@given(geometries())
def test_products_agree_with_their_definitions(geometry):
    means, weight = geometry.class_means, geometry.classifier
    for k in range(geometry.num_classes):
        for l in range(geometry.num_classes):  # noqa: E741
            assert geometry.mean_logits[k, l] == pytest.approx(float(weight[l] @ means[k]), abs=1e-9)
            assert geometry.gram_means[k, l] == pytest.approx(float(means[k] @ means[l]), abs=1e-9)
            assert geometry.gram_classifier[k, l] == pytest.approx(float(weight[k] @ weight[l]), abs=1e-9)
            norms = np.linalg.norm(means[k]) * np.linalg.norm(means[l])
            cosine = geometry.cosines_means[k, l]
            assert np.isnan(cosine) if norms == 0 else cosine == pytest.approx(float(means[k] @ means[l]) / norms)


@pytest.mark.slow
@given(geometries(), st.integers(0, 2**32 - 1))
def test_rotating_the_features_changes_nothing(geometry, seed):
    dim = geometry.class_means.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]
    rotated = lp.Geometry(
        geometry.counts, geometry.class_means @ rotation, geometry.classifier @ rotation, geometry.bias
    )
    comparison = lp.compare(geometry, rotated)
    for name in COMPARED:
        np.testing.assert_allclose(comparison[name].measured, comparison[name].predicted, rtol=1e-9, atol=1e-9)
        assert np.nan_to_num(comparison[name].absolute_error) <= 1e-9 * 1000


@given(st.permutations(range(6)))
def test_permuting_the_classes_permutes_the_groups(order):
    means = np.diag([5.0, 5.0, 5.0, 0.0, 0.0, 0.0])
    means[0, 1] = means[1, 0] = means[0, 0]  # classes 0 and 1 coincide, and so do 3, 4 and 5
    geometry = lp.Geometry(np.ones(6, int), means, np.eye(6))
    assert geometry.merged == [[0, 1], [3, 4, 5]]
    permuted = lp.Geometry(np.ones(6, int), means[order], np.eye(6))
    place = {old: new for new, old in enumerate(order)}
    assert permuted.merged == sorted(sorted(place[k] for k in group) for group in geometry.merged)
    assert permuted.rank == geometry.rank == 2


def test_logits_merge_up_to_a_tenth_of_a_nat_and_a_tenth_of_the_largest_gap():
    assert (MERGE_RELATIVE_TOLERANCE, MERGE_ABSOLUTE_TOLERANCE) == (0.1, 0.1)
    everyone = np.ones(2, bool)
    assert merged_classes(np.diag([0.09, 0.09]), everyone, absolute=True) == [[0, 1]]
    assert merged_classes(np.diag([0.11, 0.11]), everyone, absolute=True) == []
    everyone = np.ones(4, bool)
    assert merged_classes(np.diag([10, 10, 0.9, 0.9]), everyone, absolute=True) == [[2, 3]]
    assert merged_classes(np.diag([10, 10, 1.1, 1.1]), everyone, absolute=True) == []


def test_features_have_no_absolute_unit():
    everyone = np.ones(3, bool)
    for scale in (1e-6, 1.0, 1e6):
        assert merged_classes(scale * np.diag([1.0, 1.0, 0.0]), everyone, absolute=False) == []
        assert merged_classes(scale * np.array([[1.0], [-1.0], [-1.05]]), everyone, absolute=False) == [[1, 2]]


def test_absent_classes_belong_to_no_group():
    vectors = np.array([[5.0, 0.0], [np.nan, np.nan], [0.0, 5.0], [0.0, 5.0]])
    assert merged_classes(vectors, np.array([True, False, True, True]), absolute=True) == [[2, 3]]
    assert merged_classes(vectors, np.array([True, False, False, False]), absolute=True) == []
    geometry = lp.Geometry([10, 0, 10, 10], vectors, np.ones((4, 2)))
    assert np.isnan(geometry.mean_logits[1]).all()
    assert np.isnan(geometry.cosines_means[1]).all()


def test_the_rank_of_a_measurement_ignores_what_training_leaves_of_a_lost_direction():
    noise = np.random.default_rng(0).normal(scale=0.01, size=(4, 4))
    kept = lp.Geometry(np.full(4, 10), simplex(4) + noise, np.eye(4))
    assert (kept.rank, kept.merged) == (3, [])
    lost = lp.Geometry(np.full(4, 10), np.outer([1, 1, -1, -1], [2, 2, -2, -2]) + noise, np.eye(4))
    assert (lost.rank, lost.merged) == (1, [[0, 1], [2, 3]])
    collapsed = lp.Geometry(np.full(4, 10), noise, np.eye(4))
    assert (collapsed.rank, collapsed.merged) == (0, [[0, 1, 2, 3]])


def test_a_prediction_states_its_rank_and_groups_and_makes_its_matrices_late():
    calls = []

    def factors():
        calls.append(1)
        return simplex(3), np.eye(3)

    geometry = lp.Geometry.from_factors([5, 5, 5], factors, None, rank=1, merged=[(0, 1)])
    assert (geometry.rank, geometry.merged, geometry.num_classes) == (1, [[0, 1]], 3)
    assert geometry.bias.tolist() == [0, 0, 0]
    assert not calls
    np.testing.assert_array_equal(geometry.mean_logits, simplex(3))
    assert geometry.has_classifier
    assert len(calls) == 1


def test_features_alone_are_measured_but_have_no_logits():
    geometry = lp.Geometry([5, 5], [[1.0, 0.0], [0.0, 1.0]])
    assert not geometry.has_classifier
    assert (geometry.rank, geometry.merged) == (1, [])  # one direction tells two classes apart
    np.testing.assert_array_equal(geometry.gram_means, np.eye(2))
    with pytest.raises(ValueError, match=r"^classifier is unknown.*pass classifier="):
        _ = geometry.mean_logits


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"counts": []}, r"^counts must be a non-empty vector.*\(0,\)"),
        ({"counts": [[1, 2, 3]]}, r"^counts must be a non-empty vector.*\(1, 3\)"),
        ({"class_means": np.ones((2, 4))}, r"^class_means must have shape.*K = 3.*\(2, 4\)"),
        ({"class_means": np.ones(3)}, r"^class_means must have shape.*\(3,\)"),
        ({"classifier": np.ones((3, 5))}, r"^classifier must have the shape of class_means, \(3, 4\).*\(3, 5\)"),
        ({"classifier": np.ones((4, 3))}, r"^classifier must have the shape.*\(4, 3\)"),
        ({"bias": np.ones(4)}, r"^bias must have one entry a class, shape \(3,\).*\(4,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_named(arguments, message):
    fitting = {"counts": [1, 2, 3], "class_means": np.ones((3, 4)), "classifier": np.ones((3, 4))}
    with pytest.raises(ValueError, match=message) as caught:
        lp.Geometry(**(fitting | arguments))
    assert "\n" not in str(caught.value)


def test_rank_counts_what_tells_classes_apart():
    """Neither what all classes share is a direction, nor what the classifier does not see, nor an absent class."""
    means = twins.simplex(5, 8) + 2.0
    weight = twins.simplex(5, 8)
    assert lp.Geometry([5, 5, 5, 2, 2], means).rank == 4
    weight[3:] = 0
    assert lp.Geometry([5, 5, 5, 2, 2], means, 10 * weight).rank == 3
    assert lp.Geometry([5, 5, 0, 0, 0], np.insert(means[:2], [2, 2, 2], np.nan, axis=0)).rank == 1
    assert lp.Geometry([0, 0], np.full((2, 3), np.nan)).rank == 0


def test_means_of_classes_with_samples_must_be_finite():
    with pytest.raises(ValueError, match="class_means must be finite for every class with samples; got nan"):
        lp.Geometry([5, 5], [[1.0], [np.nan]])
    with pytest.raises(ValueError, match="classifier must be finite"):
        lp.Geometry([5, 5], [[1.0], [2.0]], [[np.inf], [0.0]])
    assert lp.Geometry([5, 0], [[1.0], [np.nan]]).rank == 0
