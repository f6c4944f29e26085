"""Losses under the names of their papers: against the papers' own formulas, the theory's evaluation, and PyTorch."""

from __future__ import annotations

import copy
import io
import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

import lopsided as lp
from lopsided.nn import CDTLoss, FocalLossModule, LDAMLoss, LDTLoss, LogitAdjustedLoss, VSLoss, WeightedCrossEntropy
from lopsided.solver.logit_losses import logit_loss

COUNTS = [9, 4, 4, 2]
N, LARGEST, SMALLEST = 19, 9, 2
LABELS = np.repeat(np.arange(4), COUNTS)
WEIGHTS = [1.0, 2.0, 2.0, 5.0]


def cross_entropy(inside, k):
    return math.log(sum(math.exp(value) for value in inside)) - inside[k]


def ldam(x, k, largest_margin, scale):
    """The published code: C = max_m / max(n^(−1/4)), then F.cross_entropy(s · x_m, target)."""
    margins = [1 / math.sqrt(math.sqrt(n)) for n in COUNTS]
    margins = [margin * (largest_margin / max(margins)) for margin in margins]
    return cross_entropy([scale * (value - margins[k] * (j == k)) for j, value in enumerate(x)], k)


def focal(x, k, gamma):
    own = math.exp(x[k]) / sum(math.exp(value) for value in x)
    return -((1 - own) ** gamma) * math.log(own)


#: Each module, with one sample's loss as its paper writes it, the class weights, and what their sum is divided by.
CASES = {
    "weighted-mean": (lambda: WeightedCrossEntropy(COUNTS, WEIGHTS), cross_entropy, WEIGHTS, "mean"),
    "weighted-samples": (
        lambda: WeightedCrossEntropy(COUNTS, WEIGHTS, reduction="samples"),
        cross_entropy,
        WEIGHTS,
        "samples",
    ),
    "adjusted": (
        lambda: LogitAdjustedLoss(COUNTS, tau=1.3),
        lambda x, k: cross_entropy([value + 1.3 * math.log(n / N) for value, n in zip(x, COUNTS, strict=True)], k),
        None,
        "mean",
    ),
    "ldam": (lambda: LDAMLoss(COUNTS), lambda x, k: ldam(x, k, 0.5, 1.0), None, "mean"),
    "ldam-published": (
        lambda: LDAMLoss(COUNTS, max_margin=0.3, scale=30.0, weights=WEIGHTS),
        lambda x, k: ldam(x, k, 0.3, 30.0),
        WEIGHTS,
        "mean",
    ),
    "cdt": (
        lambda: CDTLoss(COUNTS, gamma=0.4),
        lambda x, k: cross_entropy([value / (LARGEST / n) ** 0.4 for value, n in zip(x, COUNTS, strict=True)], k),
        None,
        "mean",
    ),
    "ldt": (
        lambda: LDTLoss(COUNTS, gamma=-0.5),
        lambda x, k: cross_entropy([value * math.sqrt(LARGEST / COUNTS[k]) for value in x], k),
        None,
        "mean",
    ),
    "vs": (
        lambda: VSLoss(COUNTS, gamma=0.2, tau=0.7, weights=WEIGHTS, reduction="samples"),
        lambda x, k: cross_entropy(
            [value * (n / LARGEST) ** 0.2 + 0.7 * math.log(n / N) for value, n in zip(x, COUNTS, strict=True)], k
        ),
        WEIGHTS,
        "samples",
    ),
    "focal": (lambda: FocalLossModule(COUNTS), lambda x, k: focal(x, k, 2.0), None, "mean"),
    "focal-weighted": (
        lambda: FocalLossModule(COUNTS, gamma=0.5, weights=WEIGHTS, reduction="samples"),
        lambda x, k: focal(x, k, 0.5),
        WEIGHTS,
        "samples",
    ),
}


@pytest.fixture(params=CASES, ids=str)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=["vs", "focal-weighted"])
def build(request):
    """One module of each kind, with all that a module holds: the others are the same code."""
    return CASES[request.param][0]


@pytest.fixture
def criterion(build):
    return build()


@pytest.fixture
def logits():
    """(K, K): one row for all samples of a class, as at the optimum."""
    return np.random.default_rng(5).normal(scale=0.7, size=(4, 4))


def on_all_samples(criterion, logits):
    """Value, and (K, K) gradient summed over the samples of each class."""
    rows = torch.from_numpy(logits).requires_grad_()
    value = criterion(rows[LABELS], torch.from_numpy(LABELS))
    value.backward()
    return value.item(), rows.grad.numpy()


def test_all_samples_give_the_formula_of_the_paper(case, logits):
    build, sample, weights, reduction = case
    weights = weights or [1.0] * 4
    total = sum(weights[k] * sample(logits[k].tolist(), k) for k in LABELS)
    expected = total / (sum(weights[k] for k in LABELS) if reduction == "mean" else N)
    assert on_all_samples(build(), logits)[0] == pytest.approx(expected, rel=1e-12)


def test_value_and_gradient_are_those_of_the_loss_in_the_theory(case, logits):
    criterion = case[0]()
    theory = logit_loss(lp.UFM(COUNTS, lambda_z=0.01, loss=criterion.loss))
    values, slopes = theory.evaluate(logits)
    value, gradient = on_all_samples(criterion, logits)
    assert value == pytest.approx(float(theory.weights @ values), rel=1e-12)
    np.testing.assert_allclose(gradient, theory.weights[:, None] * slopes, rtol=0, atol=1e-12)


def test_weights_of_all_samples_are_pytorchs_weighted_mean(logits):
    rows, labels = torch.from_numpy(logits[LABELS]), torch.from_numpy(LABELS)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    expected = functional.cross_entropy(rows, labels, weight=weights)
    assert WeightedCrossEntropy(COUNTS, weights)(rows, labels).item() == pytest.approx(expected.item(), rel=1e-12)


def test_smoothing_weighs_a_sample_as_a_whole_and_pytorch_each_class(logits):
    rows, labels = torch.from_numpy(logits[LABELS]), torch.from_numpy(LABELS)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    each = functional.cross_entropy(rows, labels, reduction="none", label_smoothing=0.1)
    expected = ((weights[labels] * each).sum() / weights[labels].sum()).item()
    assert WeightedCrossEntropy(COUNTS, weights, label_smoothing=0.1)(rows, labels).item() == pytest.approx(
        expected, rel=1e-12
    )
    assert functional.cross_entropy(rows, labels, weights, label_smoothing=0.1).item() != pytest.approx(expected, 1e-3)


def test_a_batch_is_not_divided_by_its_own_weights(logits):
    """One rare sample alone: PyTorch's weighted mean forgets its weight, this module does not."""
    rows, labels = torch.from_numpy(logits[3:]), torch.tensor([3])
    own = functional.cross_entropy(rows, labels).item()
    assert WeightedCrossEntropy(COUNTS, WEIGHTS)(rows, labels).item() == pytest.approx(own * 5.0 * N / 35)
    assert WeightedCrossEntropy(COUNTS, WEIGHTS, reduction="samples")(rows, labels).item() == pytest.approx(own * 5.0)


def test_a_sampler_multiplies_the_weights(logits):
    """Classes drawn with probability q on average give the data term for weights w q N / n."""
    rows = torch.from_numpy(logits)
    shares = np.array([0.25, 0.25, 0.25, 0.25])
    weights = np.array(WEIGHTS)
    criterion = WeightedCrossEntropy(COUNTS, weights, reduction="samples")
    average = sum(shares[k] * criterion(rows[k : k + 1], torch.tensor([k])).item() for k in range(4))
    seen = WeightedCrossEntropy(COUNTS, weights * shares * N / np.array(COUNTS), reduction="samples")
    assert average == pytest.approx(seen(rows[LABELS], torch.from_numpy(LABELS)).item(), rel=1e-12)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(1, 10_000), min_size=2, max_size=6),
    scale=st.floats(0.01, 100),
    shift=st.floats(-5, 5),
)
def test_only_relative_weights_count_in_the_mean_and_no_common_shift_of_the_logits(counts, scale, shift):
    rng = np.random.default_rng(len(counts))
    logits = torch.from_numpy(rng.normal(size=(5, len(counts))))
    labels = torch.from_numpy(rng.integers(len(counts), size=5))
    weights = np.asarray(counts, dtype=float) ** -0.5
    base = WeightedCrossEntropy(counts, weights)(logits, labels).item()
    assert WeightedCrossEntropy(counts, scale * weights)(logits + shift, labels).item() == pytest.approx(base, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_short_floats_are_raised_and_give_gradients_of_their_own_dtype(criterion, dtype):
    short = torch.randn(19, 4, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    labels = torch.from_numpy(LABELS)
    value = criterion(short, labels)
    value.backward()
    assert value.dtype == torch.float32
    assert short.grad.dtype == dtype
    assert short.grad.isfinite().all()
    assert value.item() == pytest.approx(criterion(short.detach().double(), labels).item(), rel=1e-5)


def test_autocast_changes_nothing_but_the_layers_before(criterion):
    head = torch.nn.Linear(6, 4)
    inputs, labels = torch.randn(19, 6), torch.from_numpy(LABELS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = head(inputs)
        value = criterion(logits, labels)
    assert logits.dtype == torch.bfloat16
    assert value.dtype == torch.float32
    value.backward()
    assert head.weight.grad.isfinite().all()
    assert value.item() == pytest.approx(criterion(logits.detach().double(), labels).item(), rel=1e-5)


def test_casting_a_model_leaves_its_loss_exact(criterion, logits):
    before = on_all_samples(criterion, logits)[0]
    model = torch.nn.ModuleDict({"head": torch.nn.Linear(3, 4), "criterion": criterion})
    for cast in (model.half, model.float, model.bfloat16, model.double):
        cast()
        assert on_all_samples(criterion, logits)[0] == before
        assert all(buffer.dtype == torch.float64 for buffer in criterion.buffers())


def test_buffers_follow_the_device_and_come_back_from_meta(build, criterion, logits):
    before = on_all_samples(criterion, logits)[0]
    criterion.to("meta")
    assert {buffer.device.type for buffer in criterion.buffers()} == {"meta"}
    criterion.to_empty(device="cpu")
    assert on_all_samples(criterion, logits)[0] == before
    with torch.device("meta"):
        built = build()
    assert {buffer.device.type for buffer in built.buffers()} == {"meta"}
    assert on_all_samples(built.to_empty(device="cpu"), logits)[0] == before


def test_copies_and_pickles_are_the_same_loss(criterion, logits):
    before = on_all_samples(criterion, logits)[0]
    stored = io.BytesIO()
    torch.save(criterion, stored)
    stored.seek(0)
    for other in (
        copy.deepcopy(criterion),
        pickle.loads(pickle.dumps(criterion)),
        torch.load(stored, weights_only=False),
    ):
        assert type(other) is type(criterion)
        assert other.loss == criterion.loss
        assert on_all_samples(other, logits)[0] == before


def test_a_checkpoint_holds_nothing_of_the_loss(criterion):
    assert criterion.state_dict() == {}
    assert "num_classes=4" in repr(criterion)


@pytest.mark.slow
def test_it_compiles_without_a_break(criterion, logits):
    torch.compiler.reset()  # all cases share one code, which is compiled a few times at most
    rows, labels = torch.from_numpy(logits), torch.arange(4)
    compiled = torch.compile(criterion, fullgraph=True, backend="eager")
    assert compiled(rows, labels).item() == criterion(rows, labels).item()


def test_a_loss_of_thousands_of_classes_prints_one_line():
    assert len(repr(LDAMLoss("exp:1000x8142:500"))) < 80


@pytest.mark.parametrize("counts", ["9,4x2,2", np.array(COUNTS), tuple(COUNTS), torch.tensor(COUNTS)], ids=type)
def test_counts_in_every_form(counts):
    assert VSLoss(counts, 0.3).loss == VSLoss(COUNTS, 0.3).loss


def test_labels_of_every_integer_dtype():
    logits = torch.zeros(3, 4)
    for dtype in (torch.uint8, torch.int32, torch.int64):
        assert LogitAdjustedLoss(COUNTS)(logits, torch.tensor([0, 1, 3], dtype=dtype)).isfinite()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.zeros(2, 3), torch.tensor([0, 1]), r"logits must be floating, of shape \(B, 4\).*\(2, 3\)"),
        (torch.zeros(2, 4, 5), torch.zeros(2, 5).long(), r"logits must be .*\(2, 4, 5\)"),
        (torch.zeros(2, 4).long(), torch.tensor([0, 1]), "logits must be floating.*int64"),
        (torch.zeros(2, 4), torch.tensor([0]), r"labels must have shape \(B,\).* 2 rows.*\(1,\)"),
        (torch.zeros(2, 4), torch.eye(4)[:2], r"labels must have shape.*\(2, 4\)"),
        (torch.zeros(0, 4), torch.zeros(0).long(), r"labels must have shape.*B at least 1.*\(0,\)"),
        (torch.zeros(2, 4), torch.tensor([0.0, 1.0]), "labels must be class indices.*float32"),
        (torch.zeros(2, 4), torch.tensor([True, False]), "labels must be class indices.*bool"),
        (torch.zeros(2, 4), torch.tensor([0, 4]), "labels must be 0 to 3, the classes of counts; got 4"),
        (torch.zeros(2, 4), torch.tensor([-100, 3]), "labels must be 0 to 3, the classes of counts; got -100"),
    ],
)
def test_what_contradicts_the_counts_is_refused(logits, labels, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        VSLoss(COUNTS, 0.3)(logits, labels)


def test_labels_are_looked_at_in_every_batch():
    criterion = LogitAdjustedLoss(COUNTS)
    criterion(torch.zeros(1, 4), torch.tensor([3]))
    with pytest.raises(ValueError, match="labels must be 0 to 3"):
        criterion(torch.zeros(1, 4), torch.tensor([4]))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: WeightedCrossEntropy(COUNTS, [1, 0, 1, 1]),
            "weights must be finite numbers above 0.*got 0 for",
        ),
        (lambda: WeightedCrossEntropy(COUNTS, [1, 1, 1, -2]), "weights must be .*got -2 for class 3"),
        (lambda: WeightedCrossEntropy(COUNTS, [1, 2]), "weights must have one number a class, 4 like counts; got 2"),
        (lambda: WeightedCrossEntropy(COUNTS, WEIGHTS, reduction="sum"), "reduction must be 'mean' or 'samples'"),
        (lambda: WeightedCrossEntropy([5, 0], WEIGHTS), "counts must be positive"),
        (lambda: FocalLossModule("5", 2.0), "counts must name at least two"),
        (lambda: LogitAdjustedLoss(COUNTS, tau=math.inf), "tau must be a finite number; got inf"),
        (lambda: VSLoss(COUNTS, 0.3, tau="1"), "tau must be a finite number; got '1'"),
        (lambda: LDAMLoss(COUNTS, max_margin=-0.1), "max_margin must be a finite number of at least 0; got -0.1"),
        (lambda: LDAMLoss(COUNTS, scale=0), "scale must be a finite number above 0; got 0"),
        (lambda: CDTLoss(COUNTS, gamma=math.nan), "gamma must be a finite number; got nan"),
        (lambda: LDTLoss(COUNTS, gamma=1e4), "gamma must leave every scale .* above 0; got 10000"),
        (lambda: FocalLossModule(COUNTS, gamma=-1.0), "gamma must be a finite number of at least 0; got -1"),
    ],
)
def test_bad_settings_are_refused_by_name(build, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build()


def test_the_same_module_is_called_a_training_loss():
    from lopsided import nn, training

    assert training.loss_module is nn.loss_module
    assert isinstance(LDAMLoss(COUNTS), training.DataTerm)
    with pytest.raises(AttributeError, match="NoSuchLoss"):
        _ = nn.NoSuchLoss
