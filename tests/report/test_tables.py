import dataclasses
import io
import json

import numpy as np
import pytest
from rich.console import Console

from lopsided import Geometry
from lopsided.report import checks_table, comparison_rows, comparison_table, report_dict
from lopsided.runs import Run


def _printed(table) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=120).print(table)
    return buffer.getvalue()


def test_rows_hold_the_comparison(digits_run):
    rows = {row.quantity: row for row in comparison_rows(digits_run)}
    for name, label in (("mean_logits", "mean logits"), ("bias", "bias"), ("gram_means", "Gram of means")):
        entry = digits_run.comparison[name]
        assert rows[label].relative_error == entry.relative_error
        assert rows[label].absolute_error == entry.absolute_error
        assert rows[label].predicted == pytest.approx(np.sqrt(np.mean(entry.predicted**2)))
    cosines = digits_run.predicted.cosines_means
    off_diagonal = cosines[~np.eye(5, dtype=bool)]
    assert rows["cosines of means"].predicted == pytest.approx(np.sqrt(np.mean(off_diagonal**2)))
    own = np.diagonal(digits_run.measured.mean_logits)
    assert rows["own logit, n = 90"].measured == pytest.approx(own[[1, 2]].mean())
    assert rows["own logit, n = 10"].measured == pytest.approx(own[[0, 3, 4]].mean())
    assert rows["merged classes"].agrees is True
    assert rows["merged classes"].measured == [[3, 4]]


def test_nc1_is_named_by_its_convention_and_the_papers_told_only_where_no_direction_is_lost(digits_run, collapsed_run):
    def nc1(run):
        return [row.cells(list("abcde")) for row in comparison_rows(run) if "NC1" in row.quantity]

    rank_aware = ("NC1, rank-aware", "0", "0.004", "0.004 off")
    assert digits_run.measured.rank == 3
    assert nc1(digits_run) == [rank_aware]
    apart = dataclasses.replace(digits_run, measured=Geometry([10, 90, 90, 10, 10], np.eye(5), np.eye(5)))
    assert nc1(apart) == [rank_aware, ("NC1, the paper's", "0", "4e+09", "4e+09 off")]
    nothing = dataclasses.replace(collapsed_run, measures={"nc1_rank_aware": None})
    assert nc1(nothing) == [("NC1, rank-aware", "–", "–", "undefined")]
    assert nc1(collapsed_run) == []


def test_long_tails_get_no_row_for_every_count():
    geometry = Geometry(np.arange(1, 8), np.eye(7), np.eye(7))
    assert comparison_rows(Run("r", {}, geometry, geometry))[0].quantity == "mean logits"


def test_prediction_of_zero_is_told_in_its_unit(collapsed_run):
    cells = {row.quantity: row.cells(list("abcde")) for row in comparison_rows(collapsed_run)}
    assert cells["mean logits"][3].endswith(" nats off")
    assert cells["cosines of means"] == ("cosines of means", "–", "–", "undefined")
    assert cells["merged classes"] == ("merged classes", "all 5", "all 5", "agrees")
    assert cells["bias"][3].endswith(" %")


def test_printed_table_says_what_differs(digits_run):
    other = Run("r", digits_run.settings, digits_run.predicted, Geometry([10, 90, 90, 10, 10], np.eye(5), np.eye(5)))
    text = _printed(comparison_table(other))
    told = "but the prediction is: classes $three$, 4 cannot be told apart"
    assert told in " ".join(text.split())
    line = next(line for line in text.splitlines() if "merged classes" in line)
    assert line.split() == ["merged", "classes", "$three$=4", "none", "differs"]


def test_user_text_is_not_taken_for_markup(digits_run):
    run = Run(
        "[red]x[/red]", {"class_names": ["[b]", "1", "2", "[/b]", "4"]}, digits_run.predicted, digits_run.measured
    )
    text = _printed(comparison_table(run))
    assert "[red]x[/red]" in text
    assert "[/b]=4" in text


def test_verdicts(checks):
    text = _printed(checks_table(checks))
    assert [line.split()[-1] for line in text.splitlines()[2:]] == ["yes", "no"]


def test_everything_as_one_json_object(digits_run, collapsed_run, checks):
    value = report_dict([digits_run, collapsed_run], checks)
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert value["holds"] is False
    assert report_dict([digits_run], checks[:1])["holds"] is True
    zero = next(row for row in value["runs"][1]["comparison"] if row["quantity"] == "mean logits")
    assert (zero["predicted"], zero["relative_error"], zero["unit"]) == (0.0, None, "nats")
    assert zero["absolute_error"] > 0
