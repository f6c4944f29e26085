import subprocess
import sys

import numpy as np
import pytest

from lopsided import Geometry
from lopsided.report import (
    figure_cosines,
    figure_mean_logits,
    figure_merged,
    figure_overview,
    figure_training,
    to_png,
)
from lopsided.report.canvas import display_order
from lopsided.runs import Run

ORDER = [1, 2, 0, 3, 4]


def _images(figure) -> list:
    return [image for axes in figure.axes for image in axes.get_images()]


def _texts(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def _labels(axes) -> list[str]:
    return [text.get_text() for text in axes.get_yticklabels()]


@pytest.mark.slow
def test_mean_logits_show_the_numbers_of_the_run_on_one_scale(digits_run):
    figure = figure_mean_logits(digits_run)
    predicted, measured, difference = _images(figure)
    assert display_order(digits_run.predicted).tolist() == ORDER
    block = np.ix_(ORDER, ORDER)
    np.testing.assert_array_equal(predicted.get_array(), digits_run.predicted.mean_logits[block])
    np.testing.assert_array_equal(measured.get_array(), digits_run.measured.mean_logits[block])
    np.testing.assert_allclose(difference.get_array(), measured.get_array() - predicted.get_array())
    limit = max(np.abs(digits_run.predicted.mean_logits).max(), np.abs(digits_run.measured.mean_logits).max())
    assert {image.get_clim() for image in (predicted, measured, difference)} == {(-limit, limit)}


@pytest.mark.slow
def test_axes_name_classes_with_their_counts_and_bracket_the_merged(digits_run):
    figure = figure_mean_logits(digits_run)
    left, middle, right = figure.axes[:3]
    assert _labels(left) == ["one (90)", "<i>two</i> (90)", "zero (10)", "$three$ (10)", "4 (10)"]
    assert ["merged" in _texts(axes) for axes in (left, middle, right)] == [True, True, False]
    (bracket,) = (line for line in left.lines if len(line.get_xdata()) == 4)
    assert 2.5 < min(bracket.get_ydata()) < 3
    assert 4 < max(bracket.get_ydata()) < 4.5
    assert "0.009" in figure.get_suptitle()
    assert figure.get_suptitle().endswith(", as predicted")
    assert "4 cannot be told apart" in figure.get_suptitle()


def test_a_group_that_is_not_contiguous_has_a_bracket_for_each_part():
    geometry = Geometry([9, 8, 7, 6], np.eye(4), np.eye(4), merged=[[0, 1, 3]])
    axes = figure_mean_logits(Run("r", {}, geometry, geometry)).axes[0]
    assert sum(len(line.get_xdata()) == 4 for line in axes.lines) == 2
    assert _texts(axes).count("merged") == 1


@pytest.mark.slow
def test_nothing_left_is_said_and_not_drawn_as_noise(collapsed_run):
    figure = figure_mean_logits(collapsed_run)
    assert all("zero everywhere" in _texts(axes) for axes in figure.axes[:3])
    assert {image.get_clim() for image in _images(figure)} == {(-1.0, 1.0)}
    cosines = figure_cosines(collapsed_run)
    assert all(np.ma.getmaskarray(image.get_array()).all() for image in _images(cosines))
    assert "no direction is left" in cosines.get_suptitle()
    assert to_png(cosines).startswith(b"\x89PNG")


@pytest.mark.slow
def test_cosines_leave_out_the_measured_direction_of_a_mean_that_is_predicted_to_vanish():
    means = np.diag([1.0, 1.0, 0.0])
    run = Run("r", {}, Geometry([9, 9, 1], means, means), Geometry([9, 9, 1], np.eye(3) - 0.1, np.eye(3) - 0.1))
    predicted, measured = _images(figure_cosines(run))[:2]
    np.testing.assert_array_equal(np.ma.getmaskarray(measured.get_array())[2], True)
    np.testing.assert_array_equal(np.ma.getmaskarray(measured.get_array()), np.ma.getmaskarray(predicted.get_array()))
    np.testing.assert_allclose(measured.get_array()[0, 1], run.measured.cosines_means[0, 1])


@pytest.mark.slow
def test_training_leaves_gaps_where_a_measure_has_no_value(digits_run, collapsed_run):
    figure = figure_training([digits_run, collapsed_run])
    variability, accuracy, excess = figure.axes
    np.testing.assert_array_equal(variability.lines[0].get_ydata(), [2.0, np.nan, 0.004])
    np.testing.assert_array_equal(accuracy.lines[0].get_ydata(), [0.2, 0.9, 1.0])
    np.testing.assert_allclose(excess.lines[0].get_ydata(), [2.0, 1.0, 0.01])
    assert figure.get_suptitle() == "Training: 1 of 1 networks with classes left end with rank-aware NC1 below 0.01"
    assert to_png(figure).startswith(b"\x89PNG")


def test_training_without_a_history_is_refused(collapsed_run):
    with pytest.raises(ValueError, match=r"^runs must hold a run with a history"):
        figure_training([collapsed_run])


def test_merged_map(digits_run):
    figure = figure_merged([digits_run])
    axes = figure.axes[0]
    faces = [patch.get_facecolor() for patch in axes.patches]
    assert len(faces) == 10
    assert len(set(faces[:3])) == 1
    assert faces[0] != faces[3] == faces[4] == faces[9]
    assert "agree at 1 of 1" in figure.get_suptitle()


def test_merged_map_of_unlike_runs_is_refused(digits_run):
    two = Geometry([2, 1], np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match=r"^runs must be one or more, over equally many classes; got \[2, 5\]"):
        figure_merged([digits_run, Run("r", {}, two, two)])
    with pytest.raises(ValueError, match=r"got none"):
        figure_merged([])


@pytest.mark.slow
def test_overview_tells_the_story_only_when_it_is_what_happened(digits_run, collapsed_run):
    separate = Geometry([90, 90, 10, 10], np.eye(4), np.eye(4))
    rare = Geometry([90, 90, 10, 10], np.diag([1.0, 1.0, 0, 0]), np.eye(4))
    nothing = Geometry([90, 90, 10, 10], np.zeros((4, 4)), np.eye(4))
    runs = [Run(f"{k}", {"lambda_z": k}, g, g) for k, g in enumerate((separate, rare, nothing))]
    assert "erases the rare classes" in figure_overview(runs).get_suptitle()
    assert "erases" not in figure_overview(runs[::-1]).get_suptitle()
    images = _images(figure_overview(runs))
    assert len(images) == 6
    assert len({image.get_clim() for image in images}) == 1


def test_overview_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"^runs must hold at least one run; got none"):
        figure_overview([])


@pytest.mark.slow
def test_hundreds_of_classes_are_drawn_without_names_or_numbers():
    counts = np.geomspace(1000, 10, 200).round().astype(int)
    geometry = Geometry(counts, np.eye(200), np.eye(200))
    run = Run("r", {}, geometry, geometry)
    axes = figure_mean_logits(run).axes[0]
    assert len(axes.texts) == 0
    assert _labels(axes)[0] == "n = 1000"
    assert to_png(figure_merged([run])).startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(digits_run):
    assert to_png(figure_mean_logits(digits_run)) == to_png(figure_mean_logits(digits_run))


@pytest.mark.slow
def test_no_global_plotting_state_and_no_early_import():
    code = (
        "import sys, numpy as np, lopsided.report as report\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules\n"
        "from lopsided import Geometry\n"
        "from lopsided.runs import Run\n"
        "g = Geometry([2, 1], np.eye(2), np.eye(2))\n"
        "report.to_png(report.figure_mean_logits(Run('r', {}, g, g)))\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
