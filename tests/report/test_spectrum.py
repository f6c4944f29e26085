"""The figure of singular values, read back from what is drawn."""

import numpy as np
import pytest

import lopsided as lp
from lopsided.report import figure_singular_values, to_bytes, to_png
from lopsided.report.canvas import KINDS, figure_path, save_figure
from lopsided.theory import critical_path, singular_paths


@pytest.fixture(scope="module")
def small():
    model = lp.UFM("500x2,100x3", 1.0, bias=False)
    return model, model.critical_path(), singular_paths(model, np.geomspace(0.002, 0.02, 12))


def _labels(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_the_curves_are_the_singular_values_of_each_cluster_and_between(small):
    model, path, paths = small
    figure = figure_singular_values(model, path, paths)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    curves = {line.get_label(): line for line in axes.lines}
    for label, values in (
        ("inside classes 0–1", paths.within[:, 0]),
        ("inside classes 2–4, 2 directions", paths.within[:, 1]),
        ("between clusters, direction 1", paths.between[:, 0]),
    ):
        np.testing.assert_array_equal(curves[label].get_xdata(), paths.decays)
        np.testing.assert_array_equal(curves[label].get_ydata(), values)
    assert set(_labels(figure)) == {label for label in curves if not label.startswith("_")}
    assert figure.get_suptitle() == "The rank falls from 4 to 0 in 3 steps"


def test_a_vertical_line_at_every_critical_decay_names_what_is_lost(small):
    model, path, paths = small
    (axes,) = figure_singular_values(model, path, paths).axes
    lines = [line.get_xdata()[0] for line in axes.lines if len(set(line.get_xdata())) == 1]
    assert lines == [drop.lambda_z for drop in path]
    texts = {text.get_position()[0]: text.get_text().strip() for text in axes.texts}
    assert [texts[drop.lambda_z].partition(": ")[2] for drop in path] == [
        "all classes merge",
        "1 direction between clusters",
        "classes 2–4 merge",
    ]


@pytest.mark.slow
def test_of_many_curves_two_kinds_are_named_and_every_critical_decay_has_its_line():
    model = lp.UFM(",".join(map(str, range(10, 34, 2))) + ",5x2", 1.0, lambda_b=0.02)
    path = critical_path(model, smallest_share=0.05)
    figure = figure_singular_values(model, path, singular_paths(model, [0.01, 0.02]))
    assert _labels(figure) == ["inside clusters", "between clusters"]
    (axes,) = figure.axes
    assert not axes.texts
    assert sum(len(set(line.get_xdata())) == 1 for line in axes.lines) == len(path)
    assert to_png(figure).startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_every_kind_of_file_is_whole_and_the_same_each_time(small, tmp_path, kind, start):
    figures = [figure_singular_values(*small) for _ in range(2)]
    first, second = (to_bytes(figure, kind) for figure in figures)
    assert first == second
    assert first.startswith(start)
    target = save_figure(figures[0], tmp_path / "new" / f"a.{kind}")
    assert target.read_bytes().startswith(start)
    assert kind in KINDS


@pytest.mark.parametrize("name", ["a.gif", "a", ".png/", ""])
def test_a_name_that_is_no_figure_is_refused(name):
    with pytest.raises(ValueError, match=r"^figure must end in \.png, \.svg, \.pdf; got"):
        figure_path(name)


def test_a_folder_that_is_no_folder_is_refused_and_nothing_is_left_behind(tmp_path):
    (tmp_path / "file").write_text("whole")
    with pytest.raises(ValueError, match=r"^figure must lie in a folder that can be written; got"):
        figure_path(tmp_path / "file" / "a.png")
    assert figure_path(tmp_path / "new" / "a.png").parent.name == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    (tmp_path / "b.png").mkdir()
    with pytest.raises(ValueError, match=r"^figure must be a file; got the folder"):
        figure_path(tmp_path / "b.png")
