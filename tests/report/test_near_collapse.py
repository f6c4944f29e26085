"""The figure of nearly equal counts shows the numbers it is given."""

import numpy as np
import pytest

import lopsided as lp
from lopsided.report import figure_near_collapse, to_png
from lopsided.theory import near_collapse


@pytest.mark.slow
def test_lines_are_the_cosines_and_distances():
    near = near_collapse(lp.UFM("300,280,90x2,88", 1.0), np.geomspace(0.003, 0.03, 7), [(0, 1), (2, 4), (2, 3)])
    figure = figure_near_collapse(near)
    left, right = figure.axes
    for index in range(3):
        means, rows, threshold = left.lines[3 * index : 3 * index + 3]
        np.testing.assert_array_equal(means.get_ydata(), near.cosine_means[:, index])
        np.testing.assert_array_equal(rows.get_ydata(), near.cosine_classifier[:, index])
        assert threshold.get_xdata()[0] == near.thresholds[index]
        drawn = np.asarray(right.lines[3 * index].get_ydata())
        positive = near.distance_means[:, index] > 0
        np.testing.assert_array_equal(drawn[positive], near.distance_means[positive, index])
        assert np.isnan(drawn[~positive]).all()
    assert "classes 2 and 4 (90 and 88 samples)" in left.lines[3].get_label()
    assert to_png(figure) == to_png(figure_near_collapse(near))
