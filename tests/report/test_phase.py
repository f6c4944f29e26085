"""The figure of a phase diagram shows the diagram it is given."""

import numpy as np
import pytest

from lopsided.report import figure_phase, to_png
from lopsided.theory import Axis, Regime, phase_diagram


def lines_of(axes) -> dict[str, np.ndarray]:
    """By label, the points of each boundary line drawn as a contour, in the order of the legend's entries."""
    labels = [line.get_label() for line in axes.lines]
    contours = [found for found in axes.collections if hasattr(found, "levels")]
    return {
        label: np.concatenate([path.vertices for path in contour.get_paths()])
        for label, contour in zip(labels, contours, strict=True)
    }


@pytest.mark.slow
def test_cells_are_the_grid_and_lines_the_exact_boundaries():
    diagram = phase_diagram(
        Axis("lambda_z", 0.002, 0.012, 30), Axis("ratio", 1.2, 20, 20), m_a=5, m_b=5, n_b=100, lambda_b=0.02
    )
    axes = figure_phase(diagram).axes[0]
    mesh = axes.collections[0]
    np.testing.assert_array_equal(mesh.get_array(), diagram.regimes)
    lines = lines_of(axes)
    assert list(lines) == ["the rarer classes merge", "clusters no longer told apart", "everything merges"]
    x, y = lines["the rarer classes merge"].T
    np.testing.assert_allclose(x, 10 / (500 * y + 500), rtol=2e-3)
    x, y = lines["everything merges"].T
    np.testing.assert_allclose(x, np.sqrt(100 * y) / (500 * y + 500), rtol=2e-3)
    names = {text.get_text().replace("\n", " ") for text in axes.texts}
    assert names == {"all apart", "rare classes merged", "rare classes: bias alone", "all merged"}
    assert axes.get_title().endswith("$\\lambda_b$ = 0.02")


@pytest.mark.slow
def test_names_stand_in_their_own_regions():
    diagram = phase_diagram(Axis("n_a", 20, 2000, 60, log=True), Axis("m_b", 1, 30), m_a=4, n_b=100, lambda_z=0.006)
    axes = figure_phase(diagram).axes[0]
    assert axes.get_xscale() == "log"
    label = {"all apart": 0, "rare classes merged": 1, "rare classes: bias alone": 2, "all merged": 3}
    assert len(axes.texts) >= 3
    for text in axes.texts:
        x, y = text.get_position()
        column, row = np.argmin(abs(np.log(diagram.x.values / x))), np.argmin(abs(diagram.y.values - y))
        assert diagram.regimes[row, column] == label[text.get_text().replace("\n", " ")]


@pytest.mark.slow
def test_a_section_is_a_band_that_changes_at_the_boundaries():
    section = phase_diagram(Axis("lambda_z", 0.0027, 0.0075, 4), m_a=5, n_a=500, m_b=5, n_b=100, lambda_b=0.02)
    axes = figure_phase(section).axes[0]
    places = [line.get_xdata()[0] for line in axes.lines]
    assert np.allclose(places, [1 / 300, 0.003983263, 500**0.5 / 3000], atol=1e-8)
    band = axes.collections[0].get_array()
    assert band.shape[0] == 1
    changes = np.flatnonzero(np.diff(band[0])) + 1
    edges = np.linspace(0.0027, 0.0075, band.shape[1] + 1)
    assert np.abs(edges[changes] - places).max() < 2 * (edges[1] - edges[0])
    ends = [0.0027, *places, 0.0075]
    for text, left, right in zip(axes.texts, ends[:-1], ends[1:], strict=True):  # each name in the middle of its band
        assert text.get_position()[0] == pytest.approx((left + right) / 2, abs=2e-5)


@pytest.mark.slow
def test_a_diagram_of_one_regime_has_no_lines():
    diagram = phase_diagram(Axis("lambda_z", 1.0, 2.0, 4), Axis("m_a", 2, 3), n_a=50, m_b=3, n_b=10, lambda_b=0.02)
    assert (diagram.regimes == Regime.ALL_MERGED).all()
    figure = figure_phase(diagram)
    assert len(figure.axes[0].lines) == 0
    assert to_png(figure) == to_png(figure_phase(diagram))
    assert [text.get_text() for text in figure.axes[0].texts] == ["all merged"]
