"""``lp.check`` of ordinary weight decay: what it amounts to by the end of a network."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lopsided as lp
from lopsided.nn import read_decays

COUNTS = "150x5,30x5"


@pytest.mark.parametrize("counts", ["150x5,30x5", "500x2,20x3", "7x2,3x2"])
def test_behind_a_batch_norm_a_cluster_is_lost_from_the_root_of_its_share_on(counts):
    """λ = √(n/N), whatever the decay of the bias, which moves along."""
    sizes = lp.parse_counts(counts)
    share = math.sqrt(sizes.min() / sizes.sum())
    below, above = (lp.check(counts, weight_decay=share * (1 + d), end="batch-norm") for d in (-1e-6, 1e-6))
    rare = np.flatnonzero(sizes == sizes.min()).tolist()
    assert set(rare) <= set(above.lost)
    assert not set(rare) & set(below.lost)
    assert above.critical_weight_decays[rare] == pytest.approx(share)


@pytest.mark.slow
def test_it_is_the_model_with_the_decay_over_the_number_of_samples():
    outlook = lp.check(COUNTS, weight_decay=0.05, end="batch-norm")
    model = lp.UFM(COUNTS, lambda_w=0.05, lambda_h=0.05 / 900, lambda_b=0.05)
    assert outlook.solution.objective == pytest.approx(model.solve().objective, rel=1e-12)
    assert lp.check(COUNTS, weight_decay=0.05, end="batch-norm", lambda_b=0.0).problem.lambda_b == 0
    assert lp.check(COUNTS, weight_decay=0.05, end="batch-norm-relu").problem.features == "relu"


def test_a_sampler_changes_counts_to_appearances():
    outlook = lp.check(COUNTS, weight_decay=0.19, end="batch-norm", sampling_strategy="all")
    assert outlook.problem.num_samples == 1500
    assert outlook.lost == []
    assert outlook.critical_weight_decays == pytest.approx([math.sqrt(0.1)] * 10)


def test_a_bound_says_when_a_class_is_lost_and_never_that_it_is_kept():
    residual, exact = (lp.check(COUNTS, weight_decay=0.19, end=end) for end in ("residual:3", "batch-norm"))
    assert exact.lost == [5, 6, 7, 8, 9]
    assert set(residual.states) == {"unknown"}
    assert residual.critical_weight_decays[9] == pytest.approx(math.sqrt(3) * exact.critical_weight_decays[9])
    assert "No class is certain to be lost" in residual.verdict
    assert lp.check(COUNTS, weight_decay=0.32, end="residual:3").lost == [5, 6, 7, 8, 9]
    assert lp.check(COUNTS, weight_decay=0.19, end="residual:1").lost == exact.lost


def test_no_normalisation_leaves_it_unknown():
    outlook = lp.check(COUNTS, weight_decay=0.19, end="none")
    assert (outlook.problem, set(outlook.states)) == (None, {"unknown"})
    assert np.isnan(outlook.critical_weight_decays).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weight_decay": 0.1, "end": "batchnorm"}, r"^end must be batch-norm, .*; got 'batchnorm'"),
        ({"weight_decay": 0.1, "end": "residual:0"}, r"^end must be batch-norm, .*; got 'residual:0'"),
        ({"end": "batch-norm"}, r"^end must stand beside weight_decay alone"),
        ({"weight_decay": 0.1, "lambda_z": 0.1, "end": "batch-norm"}, r"^end must stand beside weight_decay alone"),
        ({"weight_decay": 0.1, "features": "relu", "end": "batch-norm"}, r"^end must be left out where features"),
        ({"weight_decay": -1, "end": "batch-norm"}, r"^weight_decay must be a finite number above 0; got -1"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message):
    with pytest.raises(lp.ArgumentError, match=message):
        lp.check(COUNTS, **arguments)


def network(*end, decay=0.19, norm_decay=None):
    net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), *end, nn.Linear(16, 10))
    norm = {"params": list(net[1].parameters()), "weight_decay": decay if norm_decay is None else norm_decay}
    rest = {"params": [p for p in net.parameters() if all(p is not one for one in norm["params"])]}
    sgd = torch.optim.SGD([rest, norm], lr=0.1, weight_decay=decay)
    return read_decays(net, sgd, num_samples=900, example_input=torch.randn(4, 8))


def test_a_network_is_read_as_its_end_says():
    read, stated = lp.check(COUNTS, network=network()), lp.check(COUNTS, weight_decay=0.19, end="batch-norm")
    assert read.lost == stated.lost == [5, 6, 7, 8, 9]
    np.testing.assert_allclose(read.critical_weight_decays, stated.critical_weight_decays)
    assert read.solution.objective == pytest.approx(stated.solution.objective)


def test_a_bounded_end_keeps_nothing_for_certain():
    assert set(lp.check(COUNTS, network=network(nn.GELU(), decay=1e-3)).states) == {"unknown"}


def test_an_undecayed_norm_leaves_nothing_to_be_said():
    outlook = lp.check(COUNTS, network=network(norm_decay=0.0))
    assert set(outlook.states) == {"unknown"}
    assert outlook.verdict.startswith("Unknown: these decays say nothing")
    assert outlook.to_dict()["classes"][0]["critical_weight_decay"] is None


def test_a_network_has_its_own_decays():
    with pytest.raises(lp.ArgumentError, match=r"^network must be given without decays"):
        lp.check(COUNTS, weight_decay=0.1, network=network())
