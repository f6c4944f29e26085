"""One run stated: rules, names and seeds that stay the same whatever computes them."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lopsided as lp
from lopsided.core.losses import LOSSES, all_settings, settings_of
from lopsided.runs.configuration import KEYS, Configuration, configure, known_key, read_setting

BASE = {"data": "digits", "counts": "150x5,30x5", "lambda_z": 0.003}


def test_names_and_seeds_are_those_of_every_version():
    # These numbers must never change: stored runs are found by them.
    assert configure(BASE).digest == "e5dcccb7e7241509"
    assert configure(BASE).derived_seed == 2313393984
    full = configure(
        {**BASE, "network": "cnn", "hidden": [8, 8], "lambda_b": 0.02, "loss": "focal", "gamma": 2, "seed": 7}
    )
    assert full.digest == "36a9497da807d984"


@pytest.mark.slow
def test_another_process_finds_the_same_name_and_seed():
    code = (
        "import json, sys; from lopsided.runs.configuration import configure\n"
        "run = configure(json.loads(sys.argv[1])); print(run.digest, run.derived_seed)"
    )
    done = subprocess.run([sys.executable, "-c", code, json.dumps(BASE)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [configure(BASE).digest, str(configure(BASE).derived_seed)]


@given(st.permutations(list({**BASE, "epochs": 7, "hidden": [4, 4], "seed": 3}.items())))
def test_the_order_of_the_keys_does_not_matter(items):
    assert configure(dict(items)).digest == configure({**BASE, "epochs": 7, "hidden": [4, 4], "seed": 3}).digest


def test_what_is_equal_is_written_alike():
    same = [
        {},
        {"counts": [150] * 5 + [30] * 5},
        {"counts": "150,150,150x3,30x5"},
        {"decay_ratio": 10},
        {"epochs": 400},
    ]
    assert len({configure({**BASE, **change}).digest for change in same}) == 1


def test_every_setting_and_the_seed_lead_to_another_name_and_seed():
    changes = [{}, {"seed": 1}, {"epochs": 5}, {"lambda_z": 0.004}, {"bias": False}, {"label_smoothing": 0.1}]
    runs = [configure({**BASE, **change}) for change in changes]
    assert len({run.digest for run in runs}) == len({run.derived_seed for run in runs}) == len(changes)


def test_a_setting_at_its_default_is_not_in_the_name():
    assert set(json.loads(configure(BASE).canonical)) == set(BASE)


def test_every_setting_of_every_loss_is_a_key():
    assert set(all_settings()) < set(KEYS)
    for name, kind in LOSSES.items():
        for setting in set(all_settings()) - set(settings_of(kind)):
            value = "mean" if setting in ("reduction", "scale_by") else [1] * 10 if setting.endswith("s") else 0.1
            with pytest.raises(ValueError, match=f"{setting} must be left out with loss {name}, which"):
                configure({**BASE, "loss": name, setting: value})


def test_the_loss_and_the_features_reach_the_prediction():
    run = configure({**BASE, "weights": "1x5,5x5", "features": "relu"})
    assert run.model.features == "relu"
    assert run.model.loss.weights == (1.0,) * 5 + (5.0,) * 5 == run.weights
    assert configure(BASE).stated_loss is None


@pytest.mark.parametrize("strategy", ["all", "150x10", [150] * 10, "5:150,6:150,7:150,8:150,9:150"])
def test_resampled_data_reach_the_prediction(strategy):
    run = configure({**BASE, "sampling_strategy": strategy})
    assert run.model.counts.tolist() == [150] * 10
    assert (
        configure({**BASE, "sampling_strategy": strategy, "feature_penalty_per": "appearance"}).model.counts.max()
        == 150
    )
    once = configure({**BASE, "sampling_strategy": strategy, "feature_penalty_per": "sample"})
    assert once.model.counts.tolist() == lp.parse_counts(run.counts).tolist() == [150] * 5 + [30] * 5
    assert once.model.loss.weights == (1.0,) * 5 + (5.0,) * 5
    assert once.decays == run.decays == configure(BASE).decays
    assert configure(json.loads(run.canonical)).digest == run.digest


def test_files_of_earlier_versions_may_use_earlier_names():
    old, new = ({**BASE, "sampling_strategy": "all", name: "sample"} for name in ("penalised", "feature_penalty_per"))
    assert configure(old) == configure(new)
    assert known_key("penalised") == "feature_penalty_per"


def test_a_share_and_fewer_samples_for_two_classes():
    two = {**BASE, "counts": "90,30"}
    assert configure({**two, "sampling_strategy": 0.5}).model.counts.tolist() == [90, 45]
    assert configure({**two, "sampling_strategy": "0:30"}).model.counts.tolist() == [30, 30]


def test_decays_follow_from_lambda_z_or_are_given():
    assert lp.UFM("5x2", **configure({**BASE, "decay_ratio": 30}).decays).lambda_z == pytest.approx(0.003)
    given = configure({"data": "digits", "counts": "30x2", "lambda_w": 1e-3, "lambda_h": 1e-6})
    assert given.decays == {"lambda_w": 1e-3, "lambda_h": 1e-6, "lambda_b": 0.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lamda_z": 1}, "key 'lamda_z' does not exist; the nearest is 'lambda_z'"),
        ({"learning_rat": 1}, "key 'learning_rat' does not exist; the nearest is 'learning_rate'"),
        ({"lambda_z": 0}, "lambda_z must be a finite number above 0; got 0"),
        ({"lambda_z": "small"}, "lambda_z must be a finite number above 0; got 'small'"),
        ({"lambda_z": True}, "lambda_z must be a finite number above 0; got True"),
        ({"lambda_b": float("nan")}, r"lambda_b must be a number in \[0, ∞\); got nan"),
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1; got 1.5"),
        ({"batch_size": 1}, "batch_size must be a whole number of at least 2; got 1"),
        ({"optimizer": "lion"}, "optimizer must be one of: adam, sgd; got 'lion'"),
        ({"schedule": "linear"}, "schedule must be one of: cosine, steps; got 'linear'"),
        ({"ramp": 1}, r"ramp must be a number in \[0, 1\); got 1"),
        ({"momentum": 1.0}, r"momentum must be a number in \[0, 1\); got 1.0"),
        ({"bias": 0}, "bias must be true or false; got 0"),
        ({"hidden": [0]}, "hidden must be a list of whole numbers of at least 1"),
        ({"features": "tanh"}, "features must be one of: linear, relu; got 'tanh'"),
        ({"counts": "150y5"}, "counts cannot be read; got '150y5'"),
        ({"counts": 3}, "counts must be counts such as"),
        ({"dim": 9}, "dim must be at least the number of classes, 10"),
        ({"loss": "hinge"}, "loss must be one of: cross-entropy"),
        ({"weights": "1x3"}, "weights"),
        ({"weights": "1y3"}, "weights cannot be read; got '1y3'"),
        ({"bias": False, "lambda_b": 0.1}, "lambda_b must be left out"),
        ({"lambda_w": 1.0, "lambda_h": 4.0}, "lambda_z must equal"),
        ({"extra_layers": -1}, "extra_layers must be a whole number of at least 0; got -1"),
        ({"extra_layers": 1, "features": "relu"}, "extra_layers must be 0 unless the loss is plain cross-entropy"),
        (
            {"extra_layers": 1, "sampling_strategy": "not majority", "feature_penalty_per": "sample"},
            "extra_layers must be 0 unless the loss is plain cross-entropy",
        ),
        ({"extra_layers": 1, "head": "etf"}, "extra_layers must be 0 unless the loss is plain cross-entropy"),
        (
            {"extra_layers": 1, "loss": "focal", "gamma": 1.0},
            "extra_layers must be 0 unless the loss is plain cross-entropy",
        ),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"data": " "}, "data must be a name; got ' '"),
        ({"sampling_strategy": "some"}, "^sampling_strategy must be one of: minority"),
        ({"sampling_strategy": True}, "^sampling_strategy must be a word such as 'all', counts"),
        ({"sampling_strategy": "10:50"}, "^sampling_strategy must name class numbers from 0 to 9; got '10'"),
        ({"sampling_strategy": "150x9"}, "^sampling_strategy must have one count a class"),
        (
            {"sampling_strategy": "all", "feature_penalty_per": "epoch"},
            "^feature_penalty_per must be one of: appearance, sample",
        ),
        ({"feature_penalty_per": "sample"}, "^feature_penalty_per must be left out without a sampling_strategy"),
    ],
)
def test_bad_values_are_named_with_their_rule(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        configure({**BASE, **change})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["data", "counts", "lambda_z"])
def test_what_must_be_given(missing):
    with pytest.raises(ValueError, match=f"^{missing} must be given"):
        configure({name: value for name, value in BASE.items() if name != missing})


@pytest.mark.slow
@given(st.text(min_size=1, max_size=12))
def test_an_unknown_key_is_always_answered_with_a_known_one(name):
    if name in KEYS:
        return
    with pytest.raises(ValueError, match="does not exist; the nearest is") as caught:
        known_key(name)
    assert str(caught.value).rpartition("the nearest is ")[2].strip("'") in KEYS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hidden", (8, 4)),
        ("bias", False),
        ("epochs", 3),
        ("lambda_b", 0.5),
        ("network", "cnn"),
        ("sampling_strategy", "5:60,6:60"),
        ("weights", (1.0, 2.0) * 5),
    ],
)
def test_an_option_says_what_a_file_says(name, value):
    text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
    assert getattr(Configuration(**{**BASE, name: read_setting(name, text)}), name) == value
