"""Two real processes over gloo give what one process gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from lopsided.metrics import Moments, cdnv, measure, nc1, nc2_etf, nc3_etf
from metrics.two_workers import main
from processes import run_two_workers

COUNTS = [60, 60, 30, 12, 12]
CLASSES, DIM = len(COUNTS), 7


def gather(features, labels):
    moments = Moments(CLASSES, DIM)
    moments.update(features, labels)
    return moments


def assert_alike(found, expected):
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value, rel=1e-12, abs=1e-12) if isinstance(value, float) else value), name


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory):
    """The answers of two real processes over gloo, and what they measured."""
    folder = tmp_path_factory.mktemp("workers")
    rng = np.random.default_rng(0)
    drawn = rng.permutation(np.repeat(np.arange(CLASSES), COUNTS))
    features = torch.from_numpy(5 + 2 * rng.normal(size=(CLASSES, DIM))[drawn] + rng.normal(size=(len(drawn), DIM)))
    labels = torch.from_numpy(drawn)
    head = torch.nn.Linear(DIM, CLASSES).double()
    arrays = {"features": features, "labels": labels, "weight": head.weight.detach(), "bias": head.bias.detach()}
    np.savez(folder / "data.npz", **{name: tensor.numpy() for name, tensor in arrays.items()})
    results = [folder / f"{rank}.json" for rank in range(2)]
    given = folder / "store", folder / "data.npz"
    run_two_workers(main, [(rank, *given, result) for rank, result in enumerate(results)])
    return [json.loads(result.read_text()) for result in results], features, labels, head


def test_two_workers_give_what_one_gives(two_workers):
    answers, features, labels, head = two_workers
    assert answers[0] == answers[1]
    whole = measure(gather(features, labels), head.weight, head.bias)
    for case in ("share 0.3", "share 1.0", "share 0.0", "resumed"):
        assert_alike(answers[0][case], whole)


def test_two_workers_with_a_collection(two_workers):
    answers, features, labels, head = two_workers
    moments = gather(features, labels)
    geometry = moments.geometry(head.weight, head.bias)
    values = {"NC1": nc1(moments), "CDNV": cdnv(moments), "NC2": nc2_etf(geometry), "NC3": nc3_etf(geometry)}
    assert answers[0]["groups"] == 1
    assert_alike(answers[0]["collection"], values)


def test_two_workers_in_step(two_workers):
    """A forward that synchronises gives the value of both batches, and counts each sample once all the same."""
    answers, features, labels, _ = two_workers
    half = len(labels) // 2
    last = torch.cat([torch.arange(*span).chunk(3)[2][1:] for span in ((0, half), (half, len(labels)))])
    batch, whole = gather(features[last], labels[last]), gather(features, labels)
    assert_alike(answers[0]["step"], {"CDNV": cdnv(batch), "NC1": nc1(batch)})
    assert_alike(answers[0]["stepped"], {"CDNV": cdnv(whole), "NC1": nc1(whole)})
