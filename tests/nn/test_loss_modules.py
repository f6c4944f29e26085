"""The losses that networks are trained by are those of the theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import lopsided as lp
from lopsided.nn import loss_module

COUNTS = np.array([9, 4, 4, 2])
N = int(COUNTS.sum())
LABELS = np.repeat(np.arange(4), COUNTS)

LOSSES = {
    "plain": lp.CrossEntropy(),
    "weighted-mean": lp.CrossEntropy(weights=[1, 2, 2, 5]),
    "weighted-samples": lp.CrossEntropy(weights=[1, 2, 2, 5], reduction="samples"),
    "smoothing": lp.CrossEntropy(label_smoothing=0.1),
    "adjustment": lp.CrossEntropy(logit_adjustment=1.3),
    "ldam": lp.CrossEntropy(margins=[0.1, 0.4, 0.4, 0.9]),
    "cdt": lp.CrossEntropy(scales=[1, 0.7, 0.7, 0.4]),
    "ldt": lp.CrossEntropy(scales=[1, 0.7, 0.7, 0.4], scale_by="label"),
    "vs": lp.CrossEntropy(scales=[1, 0.7, 0.7, 0.4], logit_adjustment=1.0),
    "all": lp.CrossEntropy(
        weights=[1, 2, 2, 5],
        label_smoothing=0.2,
        logit_adjustment=0.7,
        margins=[0.1, 0.4, 0.4, 0.9],
        scales=[1, 2, 2, 3],
    ),
    "squared": lp.SquaredError(),
    "squared-weighted": lp.SquaredError(weights=[1, 2, 2, 5]),
    "focal": lp.FocalLoss(gamma=2.0),
    "focal-weighted": lp.FocalLoss(gamma=0.5, weights=[1, 2, 2, 5], reduction="samples"),
}


def naive_cross_entropy(loss, x, k):
    """One sample's cross-entropy, written out from the definition of each option."""
    classes, inside = len(x), []
    for j in range(classes):
        scale = 1.0 if loss.scales is None else loss.scales[j if loss.scale_by == "logit" else k]
        margin = 0.0 if loss.margins is None or j != k else loss.margins[k]
        inside.append(scale * x[j] + loss.logit_adjustment * math.log(COUNTS[j] / N) - margin)
    log_sum = math.log(sum(math.exp(value) for value in inside))
    targets = [(1 - loss.label_smoothing) * (j == k) + loss.label_smoothing / classes for j in range(classes)]
    return sum(target * (log_sum - value) for target, value in zip(targets, inside, strict=True))


def naive_sample(loss, x, k):
    if isinstance(loss, lp.SquaredError):
        return 0.5 * sum((value - (j == k)) ** 2 for j, value in enumerate(x))
    if isinstance(loss, lp.FocalLoss):
        own = math.exp(x[k]) / sum(math.exp(value) for value in x)
        return -((1 - own) ** loss.gamma) * math.log(own)
    return naive_cross_entropy(loss, x, k)


def naive_data_term(loss, logits):
    """The data term of the model over all N samples."""
    weights = [1.0] * len(COUNTS) if loss.weights is None else loss.weights
    total = sum(weights[k] * naive_sample(loss, x, k) for x, k in zip(logits.tolist(), LABELS.tolist(), strict=True))
    return total / (sum(weights[k] for k in LABELS) if loss.reduction == "mean" else N)


@pytest.fixture(params=LOSSES, ids=str)
def loss(request):
    return LOSSES[request.param]


#: What batches do is the same code for all losses; each kind of loss, each reduction, every setting.
of_each_kind = pytest.mark.parametrize(
    "loss", [LOSSES[name] for name in ("plain", "all", "ldt", "squared-weighted", "focal-weighted")], ids=str
)


@pytest.fixture
def logits():
    return np.random.default_rng(3).normal(scale=2.0, size=(N, 4))


def test_all_samples_give_the_data_term(loss, logits):
    value = loss_module(loss, COUNTS)(torch.from_numpy(logits), torch.from_numpy(LABELS)).item()
    assert value == pytest.approx(naive_data_term(loss, logits), rel=1e-12)


@of_each_kind
@pytest.mark.parametrize("size", [1, 19 // 3])
def test_equal_batches_average_to_the_data_term(loss, logits, size):
    """Every window of a circular order holds each sample equally often: the mean over windows is the expectation."""
    term = loss_module(loss, COUNTS)
    order = np.random.default_rng(1).permutation(N)
    windows = [np.take(order, range(start, start + size), mode="wrap") for start in range(N)]
    values = [term(torch.from_numpy(logits[rows]), torch.from_numpy(LABELS[rows])).item() for rows in windows]
    assert np.mean(values) == pytest.approx(naive_data_term(loss, logits), rel=1e-12)


@pytest.mark.slow
def test_it_is_the_data_term_of_the_certified_optimum(loss):
    """Objective − penalties = data term at the optimum's own logits."""
    model = lp.UFM(counts=COUNTS, lambda_z=0.02, lambda_b=0.1, loss=loss)
    solution = model.solve()
    geometry = solution.geometry
    logits = (geometry.mean_logits + geometry.bias)[LABELS]
    nuclear = np.linalg.svd(geometry.mean_logits * np.sqrt(COUNTS)[:, None], compute_uv=False).sum()
    penalty = 0.02 * nuclear + 0.5 * 0.1 * (geometry.bias**2).sum()
    value = loss_module(loss, COUNTS)(torch.from_numpy(logits), torch.from_numpy(LABELS)).item()
    assert value + penalty == pytest.approx(solution.objective, rel=1e-12)


@of_each_kind
@pytest.mark.parametrize("shown", [[7, 7, 7, 7], [1, 2, 3, 4]])
def test_batches_of_other_counts_average_to_the_same(loss, logits, shown):
    """Each class in its own share of a batch, with the mean of its samples' losses."""
    term, aside = loss_module(loss, COUNTS), loss_module(loss, COUNTS, shown)
    x, labels = torch.from_numpy(logits), torch.from_numpy(LABELS)
    each = torch.stack([term.samples(x[labels == k], labels[labels == k]).mean() for k in range(len(shown))])
    share = torch.tensor(shown).double() / sum(shown)
    found = aside.scale * (aside.weights * share * each).sum()
    assert found.item() == pytest.approx(term(x, labels).item(), rel=1e-12)


@pytest.mark.slow
@of_each_kind
def test_slopes_agree_with_differences(loss, logits):
    labels = torch.from_numpy(LABELS)
    assert torch.autograd.gradcheck(
        lambda x: loss_module(loss, COUNTS)(x, labels), torch.from_numpy(logits).requires_grad_(), atol=1e-6
    )


def test_what_is_shown_is_of_the_same_classes():
    with pytest.raises(ValueError, match=r"^shown must have one count a class, 4 like counts; got 3"):
        loss_module(lp.CrossEntropy(), COUNTS, [5, 5, 5])


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_focal_loss_has_a_slope_where_the_label_is_certain(gamma):
    logits = torch.tensor([[60.0, 0.0], [-60.0, 0.0]], requires_grad=True)
    value = loss_module(lp.FocalLoss(gamma=gamma), np.array([1, 1]))(logits, torch.tensor([0, 0]))
    value.backward()
    assert value.item() == pytest.approx(30.0, rel=1e-5)
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 0].item() == pytest.approx(-0.5, rel=1e-4)


def test_without_options_it_is_pytorchs(logits):
    x, labels = torch.from_numpy(logits), torch.from_numpy(LABELS)
    plain = torch.nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2, 2, 5]).double(), label_smoothing=0.0)
    assert loss_module(LOSSES["weighted-mean"], COUNTS)(x, labels).item() == pytest.approx(plain(x, labels).item())


@pytest.mark.parametrize(
    ("loss", "message"),
    [(lp.CrossEntropy(weights=[1, 2]), "weights must have one number a class, 4"), ("focal", "loss must be a Cross")],
)
def test_what_does_not_fit_is_refused(loss, message):
    with pytest.raises(ValueError, match=message):
        loss_module(loss, COUNTS)
