"""The options that state a loss: every setting reaches the library, and one that a loss lacks is refused."""

import inspect
import json
from dataclasses import dataclass, fields

import pytest
import typer

import lopsided as lp
from lopsided.cli.app import app
from lopsided.cli.options import stated_loss, takes_loss
from lopsided.core.losses import LOSSES

COUNTS = "50x2,20x3"
EVERY = {
    "--weights": ("1x2,2.5x3", {"weights": [1, 1, 2.5, 2.5, 2.5]}),
    "--label-smoothing": ("0.1", {"label_smoothing": 0.1}),
    "--logit-adjustment": ("1", {"logit_adjustment": 1.0}),
    "--margins": ("0,0,.5,.5,.5", {"margins": [0, 0, 0.5, 0.5, 0.5]}),
    "--scales": ("1x2,1.5x3", {"scales": [1, 1, 1.5, 1.5, 1.5]}),
}
COMBINED = [
    (("--weights", "1x2,3x3", "--reduction", "samples"), {"weights": [1, 1, 3, 3, 3], "reduction": "samples"}),
    (("--scales", "1x2,2x3", "--scale-by", "label"), {"scales": [1, 1, 2, 2, 2], "scale_by": "label"}),
    *(((option, text), settings) for option, (text, settings) in EVERY.items()),
    (
        tuple(word for option, (text, _) in EVERY.items() for word in (option, text)),
        {name: value for _, settings in EVERY.values() for name, value in settings.items()},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "settings"), COMBINED, ids=[" ".join(row[0][::2]) for row in COMBINED])
def test_every_setting_reaches_the_optimum_and_the_thresholds(call, arguments, settings):
    model = lp.UFM(COUNTS, 0.02, lambda_b=0.02, loss=lp.CrossEntropy(**settings))
    stated = ("--counts", COUNTS, "--lambda-b", "0.02", *arguments, "--json")
    predicted = call("predict", "--lambda-z", "0.02", *stated)
    assert (predicted.code, predicted.err) == (0, "")
    assert json.loads(predicted.out)["objective"] == pytest.approx(model.solve().objective, rel=1e-9)
    assert json.loads(predicted.out)["objective"] != pytest.approx(
        lp.UFM(COUNTS, 0.02, lambda_b=0.02).solve().objective
    )
    thresholds = call("thresholds", *stated)
    assert json.loads(thresholds.out)["thresholds"] == model.thresholds().to_dict()


def test_every_setting_of_every_loss_is_an_option_of_every_command_that_takes_a_loss():
    names = {field.name for kind in LOSSES.values() for field in fields(kind)}
    taking = [
        options
        for command in typer.main.get_command(app).commands.values()
        if "loss" in (options := {parameter.name for parameter in command.params})
    ]
    assert len(taking) >= 2
    for options in taking:
        assert names <= options


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--weights", "1x5"), ("--weights must have one number a class, 4", "got 5")),
        (("--weights", "1x2,0x2"), ("--weights must be finite numbers above 0", "got 0 for class 2")),
        (("--weights", "1x2,five"), ("--weights cannot be read; got 'five' in '1x2,five'", "write NUMBERxCLASSES")),
        (("--weights", "1x1e9"), ("--weights cannot be read; got '1x1e9'",)),
        (
            ("--weights", "1x99999999999"),
            ("--weights must have at least 1 and at most 10000000 classes a term; got 99999999999",),
        ),
        (("--weights", ""), ("--weights must have one number a class", "got 0")),
        (("--margins", "-1x4"), ("--margins must be finite numbers of at least 0", "-1")),
        (("--scales", "nan,1,1,1"), ("--scales must be finite numbers above 0", "nan")),
        (("--label-smoothing", "1"), ("--label-smoothing must be a number in [0, 1)", "1.0")),
        (("--label-smoothing", "much"), ("--label-smoothing must be a number", "'much'")),
        (("--logit-adjustment", "inf"), ("--logit-adjustment must be a finite number", "inf")),
        (("--reduction", "sum"), ("--reduction must be 'mean' or 'samples'", "'sum'")),
        (("--scale-by", "class"), ("--scale-by must be 'logit' or 'label'", "'class'")),
    ],
)
def test_bad_settings_are_refused_in_one_line(call, arguments, parts):
    outcome = call("thresholds", "--counts", "500x2,100x2", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    for part in parts:
        assert part in outcome.err


@dataclass(frozen=True)
class Sharp:
    """A loss with a setting that no other has, and with none of the others'."""

    sharpness: float = 1.0


def test_a_setting_that_the_loss_lacks_names_the_loss_and_those_that_have_it(call, monkeypatch):
    monkeypatch.setitem(LOSSES, "sharp", Sharp)
    outcome = call("thresholds", "--counts", "5x2", "--loss", "sharp", "--label-smoothing", "0.1")
    assert outcome.code == 2
    assert outcome.err == (
        "lopsided: --label-smoothing must be left out with --loss sharp, which has no such setting; got '0.1';"
        " leave it out, or choose --loss cross-entropy\n"
    )


def test_a_new_loss_brings_its_settings_to_every_command_by_itself(monkeypatch):
    monkeypatch.setitem(LOSSES, "sharp", Sharp)
    taken = []

    def command(*, loss: lp.CrossEntropy) -> None:
        taken.append(loss)

    decorated = takes_loss(command)
    options = inspect.signature(decorated).parameters
    assert {"loss", "sharpness", "weights"} <= set(options)
    assert "Of sharp only." in options["sharpness"].annotation.__metadata__[0].help
    assert stated_loss("sharp", {"sharpness": "2"}) == Sharp(2.0)
    typed = dict.fromkeys(options) | {"loss": "sharp", "sharpness": "3"}
    decorated(**typed)
    assert taken == [Sharp(3.0)]
