"""``lopsided measure``: files and models, on both sides of a threshold, with exit codes and refusals."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file, save_model

import lopsided as lp
from lopsided.metrics import Moments, measure

COUNTS = "50x3,20x2"


def arrays(lambda_z=3e-3, noise=0.01):
    geometry = lp.UFM(COUNTS, lambda_w=10 * lambda_z, lambda_h=lambda_z / 10, lambda_b=0.02).solve().geometry
    labels = np.repeat(np.arange(5), geometry.counts)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    spread = noise * rng.normal(size=(len(labels), geometry.class_means.shape[1]))
    features = (geometry.class_means[labels] + spread).astype(np.float32)
    return {"features": features[order], "labels": labels[order], "weight": geometry.classifier, "bias": geometry.bias}


@pytest.fixture
def kept(tmp_path):
    np.savez(tmp_path / "kept.npz", **arrays())
    return str(tmp_path / "kept.npz")


@pytest.fixture
def lost(tmp_path):
    np.savez(tmp_path / "lost.npz", **arrays(0.025))
    return str(tmp_path / "lost.npz")


def test_a_file_gives_what_memory_would(call, kept):
    outcome = call("measure", kept, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    given = arrays()
    moments = Moments(5, given["features"].shape[1])
    moments.update(given["features"], given["labels"])
    found, expected = json.loads(outcome.out), measure(moments, given["weight"], given["bias"])
    assert found["measures"].keys() == expected.keys()
    for name, value in expected.items():
        assert found["measures"][name] == pytest.approx(value, rel=1e-12, abs=1e-12), name
    right = np.argmax(given["features"] @ given["weight"].T + given["bias"], axis=1) == given["labels"]
    assert found["accuracy"] == pytest.approx(right.mean())
    assert found["lost"] == {"measured": []}
    assert found["verdict"] == "No class is lost."
    assert "prediction" not in found


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_safetensors_file_gives_the_same(call, tmp_path, kept, dtype):
    given = {name: torch.as_tensor(value) for name, value in arrays().items()}
    given["features"] = given["features"].to(dtype)
    save_file(given, tmp_path / "a.safetensors")
    np.savez(tmp_path / "same.npz", **{**arrays(), "features": given["features"].float().numpy()})
    first, second = (call("measure", str(tmp_path / name), "--json") for name in ("a.safetensors", "same.npz"))
    assert (first.code, first.out) == (0, second.out)


def test_without_a_weight_the_features_are_measured(call, tmp_path):
    given = arrays()
    np.savez(tmp_path / "a.npz", features=given["features"], labels=given["labels"])
    outcome = call("measure", str(tmp_path / "a.npz"), "--json", "--num-classes", "6")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert found["accuracy"] is None
    assert found["measures"]["counts"] == [50, 50, 50, 20, 20, 0]
    assert "nc3_etf" not in found["measures"]


@pytest.mark.slow
@pytest.mark.parametrize(("lambda_z", "classes", "code"), [(3e-3, [], 0), (0.025, [3, 4], 1)])
def test_a_network_is_compared_at_its_own_decay(call, kept, lost, lambda_z, classes, code):
    decays = ("--weight-decay", str(10 * lambda_z), "--bias-decay", "0.02")
    outcome = call("measure", lost if classes else kept, *decays, "--json")
    assert (outcome.code, outcome.err) == (code, "")
    found = json.loads(outcome.out)
    assert found["effective_decay"]["lambda_z"] == pytest.approx(lambda_z, rel=0.01)
    assert found["effective_decay"]["balanced"]
    assert found["prediction"]["lambda_b"] == 0.02
    assert found["prediction"]["status"] == "optimal"
    assert found["lost"] == {"measured": classes, "predicted": classes}
    assert found["comparison"]["merged"]["agrees"]
    assert found["comparison"]["quantities"]["mean_logits"]["relative_error"] < 0.02
    assert found["measures"]["nc2_predicted"] < 0.01
    assert found["verdict"].endswith("as predicted at this decay.")


def test_the_tables_name_each_convention_the_decay_and_the_verdict(call, lost, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    outcome = call("measure", lost, "--weight-decay", "0.25", "--bias-decay", "0.02")
    assert (outcome.code, outcome.err) == (1, "")
    for words in (
        "190 samples in 5 classes (50x3,20x2)",
        "tr(Σ_W Σ_B⁺)/K, Σ_B a mean over classes, about the mean of all samples (the paper's)",
        "nc1_weighted",
        "Effective decay: λ_z = 0.025",
        "classifier and features are in balance",
        "λ_w estimated from the classifier itself, under plain cross-entropy: 0.25; stated: 0.25.",
        "Prediction (certified): cross-entropy on 50x3,20x2",
        "3=4          agrees",
        "Lost: classes 3–4 cannot be told apart, as predicted at this decay.",
    ):
        assert words in outcome.out


def test_a_loss_against_the_prediction_is_told(call, tmp_path):
    given = arrays()
    centres = [given["features"][given["labels"] == k].mean(axis=0) for k in (3, 4)]
    given["features"][given["labels"] >= 3] = np.mean(centres, axis=0)
    np.savez(tmp_path / "a.npz", **given)
    outcome = call("measure", str(tmp_path / "a.npz"), "--weight-decay", "0.03", "--bias-decay", "0.02", "--json")
    assert outcome.code == 1
    found = json.loads(outcome.out)
    assert found["lost"] == {"measured": [3, 4], "predicted": []}
    assert found["verdict"] == (
        "Lost: classes 3–4 cannot be told apart, but that is not what is predicted at this decay. Expected: No class is"
        " lost."
    )


def test_a_stated_decay_of_the_features_is_not_estimated(call, kept):
    decays = ("--weight-decay", "0.03", "--feature-decay", "0.03", "--bias-decay", "0.02")
    found = json.loads(call("measure", kept, *decays, "--json").out)
    assert found["prediction"]["lambda_z"] == pytest.approx(0.03)
    assert found["lost"] == {"measured": [], "predicted": [3, 4]}
    assert found["verdict"] == (
        "No class is lost, but that is not what is predicted at this decay. Expected: classes 3–4 cannot be told apart."
    )


@pytest.mark.slow
def test_the_loss_and_the_kind_of_features_reach_the_prediction(call, kept):
    decays = ("--weight-decay", "0.03", "--bias-decay", "0.02", "--json")
    plain = json.loads(call("measure", kept, *decays).out)
    weighted = json.loads(call("measure", kept, *decays, "--weights", "1x3,3x2").out)
    assert weighted["prediction"]["lambda_z"] == plain["prediction"]["lambda_z"]
    assert weighted["prediction"]["objective"] != pytest.approx(plain["prediction"]["objective"], rel=1e-3)


@pytest.mark.slow
def test_a_report_is_written_on_request(call, kept, tmp_path, monkeypatch):
    monkeypatch.setattr("lopsided.report.writing.to_png", lambda _: b"")  # tests/report draws
    decays = ("--weight-decay", "0.03", "--bias-decay", "0.02")
    outcome = call("measure", kept, *decays, "--output", str(tmp_path / "report"), "--json")
    page = tmp_path / "report" / "report.html"
    assert (outcome.code, json.loads(outcome.out)["report"]) == (0, str(page))
    assert "kept: measured" in page.read_text(encoding="utf-8")


def assert_refused(outcome, *parts):
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("lopsided: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ("file must be given, or --checkpoint", "got neither")),
        (("KEPT", "--checkpoint", "a:b"), ("got both",)),
        (("KEPT", "--state", "a"), ("--state must come with --checkpoint",)),
        (("KEPT", "--classifier", "a"), ("--classifier must come with --checkpoint",)),
        (("KEPT", "--bias-decay", "1"), ("--bias-decay must come with --weight-decay", "1.0")),
        (("KEPT", "--feature-decay", "1"), ("--feature-decay must come with --weight-decay", "1.0")),
        (("KEPT", "--output", "x"), ("--output must come with --weight-decay", "'x'")),
        (("KEPT", "--output", " ", "--weight-decay", "1"), ("--output must name a folder", "' '")),
        (("KEPT", "--output", "/proc/x", "--weight-decay", "1"), ("--output must be a folder that can be written",)),
        (("KEPT", "--weight-decay", "0"), ("--weight-decay must be a finite number above 0", "0.0")),
        (("KEPT", "--weight-decay", "nan"), ("--weight-decay must be a finite number above 0", "nan")),
        (("KEPT", "--weight-decay", "x"), ("--weight-decay", "must be a number", "'x'")),
        (("KEPT", "--weight-decay", "1", "--bias-decay", "-1"), ("--bias-decay must be a finite number of at least",)),
        (("KEPT", "--weight-decay", "1", "--weights", "1,2"), ("--weights", "one number a class")),
        (("KEPT", "--num-classes", "0"), ("--num-classes must be a whole number of at least 1", "'0'")),
        (("KEPT", "--num-classes", "7"), ("--num-classes must be left out or be 5", "7")),
        (("/nosuch/a.npz",), ("/nosuch/a.npz: No such file or directory",)),
        (("/tmp",), ("/tmp: Is a directory",)),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_line(call, kept, arguments, parts):
    assert_refused(call("measure", *(kept if word == "KEPT" else word for word in arguments)), *parts)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--json",)])
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda a: a.pop("labels"), ("an array 'labels' of shape (N,)", "got features, weight, bias")),
        (lambda a: a.update(labels=a["labels"] + 1), ("labels from 0 to 4", "got 5 for sample")),
        (lambda a: a["features"].__setitem__((-1, 0), np.nan), ("finite features", "nan in sample 189")),
        (lambda a: a["features"].__setitem__((7, 0), np.inf), ("finite features", "inf in sample 7")),
        (lambda a: a.update(features=a["features"].astype(object)), ("pickled objects", "'features'")),
        (lambda a: a.update(features=1e200 * np.ones((190, 4))), ("small enough to be squared", "from sample 0 on")),
    ],
)
def test_a_file_that_is_not_sound_is_refused_in_one_line(call, tmp_path, change, parts, flags):
    given = arrays()
    change(given)
    np.savez(tmp_path / "a.npz", **given)
    assert_refused(call("measure", str(tmp_path / "a.npz"), *flags), "lopsided: file must ", *parts)


def test_a_pickle_is_not_opened(call, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("it was opened",))

    (tmp_path / "a.pkl").write_bytes(pickle.dumps(Bomb.__reduce__(None)))
    torch.save({"features": torch.ones(2)}, tmp_path / "a.pt")
    for name in ("a.pkl", "a.pt"):
        assert_refused(call("measure", str(tmp_path / name)), "is not opened, since that runs what it holds")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda a: (a.pop("weight"), a.pop("bias")), ("--weight-decay must come with a weight",)),
        (lambda a: a.pop("bias"), ("--bias-decay must be left out where there is no bias", "0.02")),
        (
            lambda a: a.update(labels=np.where(a["labels"] == 4, 3, a["labels"])),
            ("--weight-decay cannot be used for a prediction", "got none in class 4"),
        ),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_line(call, tmp_path, change, parts):
    given = arrays()
    change(given)
    np.savez(tmp_path / "a.npz", **given)
    path = str(tmp_path / "a.npz")
    assert_refused(call("measure", path, "--weight-decay", "0.03", "--bias-decay", "0.02"), *parts)
    assert call("measure", path).code in (0, 1)  # it can be measured all the same


def test_a_network_without_a_bias_is_predicted_without_one(call, tmp_path):
    solution = lp.UFM(COUNTS, lambda_w=0.03, lambda_h=3e-4, bias=False).solve()
    labels = np.repeat(np.arange(5), solution.geometry.counts)
    means, weight = solution.geometry.class_means, solution.geometry.classifier
    np.savez(tmp_path / "a.npz", features=means[labels], labels=labels, weight=weight)
    found = json.loads(call("measure", str(tmp_path / "a.npz"), "--weight-decay", "0.03", "--json").out)
    assert found["prediction"]["lambda_b"] is None
    assert found["prediction"]["objective"] == pytest.approx(solution.objective, rel=1e-9)


def test_ctrl_c_leaves_nothing_half_measured(call, kept, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Moments, "update", interrupted)
    arguments = ("--weight-decay", "0.03", "--output", str(tmp_path / "report"))
    outcome = call("measure", kept, *arguments)
    assert (outcome.code, outcome.out, outcome.err) == (130, "", "")
    assert not (tmp_path / "report").exists()


def test_a_long_measurement_shows_how_far_it_is(call, kept, monkeypatch):
    monkeypatch.setattr("lopsided.data.feature_file.PART", 100)
    monkeypatch.setattr("lopsided.cli.output.PATIENCE", 0.0)
    outcome = call("measure", kept, "--json")
    assert outcome.code == 0
    assert "measuring" in outcome.err
    json.loads(outcome.out)


def test_without_torch_it_says_what_to_install(call, kept, monkeypatch):
    monkeypatch.setattr("lopsided.cli.checkpoint.find_spec", lambda _: None)
    assert_refused(call("measure", kept), "file cannot be measured, since torch is not installed", "lopsided[measure]")


FACTORY = """
import torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
LABELS = torch.arange(60) % 3
INPUTS = torch.randn(60, 4) + 3 * torch.eye(4)[LABELS]


def model():
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))


def pair():
    return model(), TensorDataset(INPUTS, LABELS)


def triple():
    return model(), DataLoader(TensorDataset(INPUTS, LABELS), batch_size=7), 3


def bad_labels():
    return model(), TensorDataset(INPUTS, LABELS + 1)


def not_a_model():
    return "model", []


def broken():
    raise RuntimeError("the user's own")


constant = 3
"""


@pytest.fixture
def factory(tmp_path, monkeypatch):
    (tmp_path / "their_factory.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    monkeypatch.delitem(__import__("sys").modules, "their_factory", raising=False)


@pytest.mark.usefixtures("factory")
def test_a_checkpoint_is_run_and_measured(call):
    first, second = (call("measure", "--checkpoint", f"their_factory:{name}", "--json") for name in ("pair", "triple"))
    assert first.err == second.err == ""
    one, other = json.loads(first.out), json.loads(second.out)
    assert one["measures"]["counts"] == [20, 20, 20]
    assert one["measures"]["nc1"] == pytest.approx(other["measures"]["nc1"], rel=1e-5)
    assert first.code == int(bool(one["lost"]["measured"]))


@pytest.mark.slow
@pytest.mark.usefixtures("factory")
def test_a_checkpoint_takes_its_state_from_safetensors(call, tmp_path):
    import sys

    call("measure", "--checkpoint", "their_factory:pair")
    theirs = sys.modules["their_factory"]
    model = theirs.model()
    with torch.no_grad():
        model[2].weight.zero_()
    save_model(model, str(tmp_path / "a.safetensors"))
    arguments = ("measure", "--checkpoint", "their_factory:pair", "--json", "--classifier", "2")
    zeroed = json.loads(call(*arguments, "--state", str(tmp_path / "a.safetensors")).out)
    assert zeroed["lost"]["measured"] == [0, 1, 2]
    save_file({"other": torch.ones(2)}, tmp_path / "b.safetensors")
    assert_refused(call(*arguments, "--state", "b.safetensors"), "--state must fit the model", "Missing key")
    (tmp_path / "c.safetensors").write_bytes(pickle.dumps({}))
    assert_refused(call(*arguments, "--state", "c.safetensors"), "--state must be a whole .safetensors file")
    assert_refused(call(*arguments, "--state", "none.safetensors"), "none.safetensors: No such file")


@pytest.mark.slow
@pytest.mark.usefixtures("factory")
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("their_factory", ("must be MODULE:FACTORY", "'their_factory'")),
        ("no_such_module:f", ("with a module that Python finds", "there is no 'no_such_module'")),
        ("their_factory:none", ("must be MODULE:FACTORY", "the module 'their_factory' has no 'none'")),
        ("their_factory:constant", ("with a function or a class", "is of type int")),
        ("their_factory:not_a_model", ("must return (model, data)", "got (str, list)")),
        ("their_factory:bad_labels", ("must return what can be measured", "from 0 to 2; got 3 for sample 2")),
    ],
)
def test_a_checkpoint_that_is_none_is_refused_in_one_line(call, name, parts):
    assert_refused(call("measure", "--checkpoint", name), "--checkpoint ", *parts)


@pytest.mark.usefixtures("factory")
def test_what_goes_wrong_in_the_users_own_code_keeps_its_traceback(call):
    with pytest.raises(RuntimeError, match="the user's own"):
        call("measure", "--checkpoint", "their_factory:broken")


@pytest.mark.usefixtures("factory")
def test_a_classifier_that_is_none_is_refused(call):
    outcome = call("measure", "--checkpoint", "their_factory:pair", "--classifier", "nosuch")
    assert_refused(outcome, "--classifier must be a module of the model or its name")
