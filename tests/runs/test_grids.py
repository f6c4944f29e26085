"""TOML files of many runs."""

import itertools
import re
import tomllib
from pathlib import Path

import pytest

from lopsided.runs.grids import expand, read_configurations

COMMON = {"data": "digits", "counts": "30x2", "lambda_z": 0.003}


def test_a_grid_is_every_combination_in_the_order_of_the_file():
    decays, seeds = [0.1, 0.01], [2, 1, 0]
    runs = expand({**COMMON, "grid": {"lambda_z": decays, "seed": seeds}})
    assert [(run.lambda_z, run.seed) for run in runs] == list(itertools.product(decays, seeds))


def test_without_a_grid_there_is_one_run():
    (run,) = expand(COMMON)
    assert run.counts == "30x2"


def test_equal_runs_are_one():
    assert len(expand({**COMMON, "grid": [{"seed": [0, 1]}, {"seed": [1, 2]}]})) == 3


def test_lists_vary_as_wholes():
    runs = expand({**COMMON, "grid": {"hidden": [[8], [8, 8]]}})
    assert [run.hidden for run in runs] == [(8,), (8, 8)]


def test_changes_replace_what_the_file_says_in_its_grids_too():
    runs = expand({**COMMON, "grid": {"lambda_z": [0.1, 0.2], "seed": [0, 1]}}, {"lambda_z": 0.5, "epochs": 2})
    assert [(run.lambda_z, run.seed, run.epochs) for run in runs] == [(0.5, 0, 2), (0.5, 1, 2)]


def test_a_grid_may_use_the_earlier_name_of_a_key():
    runs = expand({**COMMON, "sampling_strategy": "all", "grid": {"penalised": ["appearance", "sample"]}})
    assert [run.feature_penalty_per for run in runs] == ["appearance", "sample"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('data = "digits', "is not a TOML file"),
        ("lamda_z = 1", "key 'lamda_z' does not exist; the nearest is 'lambda_z'"),
        ("[gird]\nseed = [0]", "key 'gird' does not exist; the nearest is 'grid'"),
        ("[grid]\nsed = [0]", "key 'sed' does not exist; the nearest is 'seed'"),
        ("[grid]\nseed = 0", "grid.seed must be a list of at least one value; got 0"),
        ("[grid]\nseed = []", "grid.seed must be a list of at least one value"),
        ("grid = 3", "grid must be a table of lists"),
        ("epochs = -1", "epochs must be a whole number of at least 1; got -1"),
        ("[grid]\nepochs = [5, 0]", "epochs must be a whole number of at least 1; got 0"),
    ],
)
def test_errors_name_the_file_and_are_one_line(tmp_path, text, message):
    path = tmp_path / "sweep.toml"
    common = 'data = "digits"\ncounts = "30x2"\nlambda_z = 0.003\n'
    path.write_text(common + text if "digits" not in text else text)
    with pytest.raises(ValueError, match=message) as caught:
        read_configurations(path)
    assert str(caught.value).startswith(f"config {str(path)!r}")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"^config must be a TOML file; cannot read .* \(No such file"):
        read_configurations(tmp_path / "nowhere.toml")


def test_a_wrong_change_is_not_blamed_on_the_file(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text('data = "digits"\ncounts = "30x2"\nlambda_z = 0.003\n')
    with pytest.raises(ValueError, match=r"^epochs must be"):
        read_configurations(path, {"epochs": 0})


def test_the_example_of_the_docs_is_understood():
    text = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(expand(tomllib.loads(example))) == 12
