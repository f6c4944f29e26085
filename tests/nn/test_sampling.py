"""Resampled epochs: exact counts, fair shares, disjoint parts, and the same from one seed and epoch."""

from __future__ import annotations

import json
import re
import socket
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lopsided.advice import target_counts
from lopsided.core.count_sources import ClassCounts
from lopsided.nn import ClassSampler
from nn.two_samplers import EPOCHS, LABELS, TARGETS, Listener, loader, main
from processes import run_two_workers


@st.composite
def requests(draw):
    """Labels in any order, and samples wanted of each class: more or fewer."""
    counts = draw(st.lists(st.integers(1, 8), min_size=2, max_size=5))
    labels = draw(st.permutations(np.repeat(np.arange(len(counts)), counts).tolist()))
    targets = draw(st.lists(st.integers(1, 25), min_size=len(counts), max_size=len(counts)))
    return labels, counts, targets


@pytest.mark.slow
@given(request=requests(), seed=st.integers(0, 2**40), epoch=st.integers(0, 1000), shuffle=st.booleans())
def test_every_epoch_has_the_counts_and_every_sample_its_share(request, seed, epoch, shuffle):
    labels, counts, targets = request
    sampler = ClassSampler(labels, targets, seed=seed, shuffle=shuffle)
    sampler.set_epoch(epoch)
    shown = list(sampler)
    assert sampler.counts.tolist() == targets
    assert len(sampler) == len(shown) == sum(targets)
    assert Counter(labels[index] for index in shown) == dict(enumerate(targets))
    times = Counter(shown)
    for index, label in enumerate(labels):
        assert targets[label] // counts[label] <= times[index] <= -(-targets[label] // counts[label])
    if not shuffle:
        assert shown == sorted(shown)
    again = ClassSampler(labels, targets, seed=seed, shuffle=shuffle)
    assert list(again.order(epoch)) == shown


@pytest.mark.slow
@given(request=requests(), replicas=st.integers(1, 6), drop_last=st.booleans())
def test_ranks_hold_disjoint_parts_of_one_order(request, replicas, drop_last):
    labels, _, targets = request
    ranks = [
        ClassSampler(labels, targets, num_replicas=replicas, rank=rank, drop_last=drop_last) for rank in range(replicas)
    ]
    parts = [list(sampler) for sampler in ranks]
    assert {len(part) for part in parts} == {len(sampler) for sampler in ranks} == {ranks[0].num_samples}
    together = [part[place] for place in range(len(parts[0])) for part in parts]
    order = ranks[0].order().tolist()
    number = len(order)
    if drop_last:
        assert together == order[: number - number % replicas]
    else:
        assert together[:number] == order
        assert together[number:] == (order * replicas)[: len(together) - number]  # its beginning again
        assert len(together) - number < replicas


@given(request=requests(), replicas=st.integers(1, 6), drop_last=st.booleans())
def test_lengths_are_those_of_torchs_own_sampler(request, replicas, drop_last):
    labels, _, targets = request
    ours = ClassSampler(labels, targets, num_replicas=replicas, rank=0, drop_last=drop_last)
    theirs = DistributedSampler(range(sum(targets)), num_replicas=replicas, rank=0, drop_last=drop_last)
    assert (len(ours), ours.total_size) == (len(theirs), theirs.total_size)


def test_what_is_left_over_is_drawn_fairly():
    """In 600 epochs 3 of 5 samples make 360 times each, give or take 12; 6 of 4 make 900."""
    sampler = ClassSampler([0] * 5 + [1] * 4, {0: 3, 1: 6})
    times = Counter(index for epoch in range(600) for index in sampler.order(epoch).tolist())
    assert all(abs(times[index] - 360) < 5 * 12 for index in range(5))
    assert all(abs(times[index] - 900) < 5 * 12.3 for index in range(5, 9))


def test_seeds_and_epochs_differ_and_nothing_else_is_disturbed():
    labels = [0] * 30 + [1] * 5
    before = torch.get_rng_state()
    orders = {tuple(ClassSampler(labels, "all", seed=seed).order(epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("labels", [torch.tensor([2, 0, 1, 0, 0]), np.array([2, 0, 1, 0, 0]), [2, 0, 1, 0, 0]])
def test_labels_as_people_have_them(labels):
    assert ClassSampler(labels, "auto").counts.tolist() == [3, 3, 3]


def test_names_as_labels():
    sampler = ClassSampler(["eel", "cat", "dog", "cat"], {"eel": 5})
    assert sampler.names == ("cat", "dog", "eel")
    assert sampler.counts.tolist() == [2, 1, 5]
    named = ClassCounts(np.array([1, 2, 1]), ("dog", "cat", "eel"), "a test")
    for labels in (["eel", "cat", "dog", "cat"], [2, 1, 0, 1]):
        assert ClassSampler(labels, {"eel": 5}, counts=named).counts.tolist() == [1, 2, 5]


@pytest.mark.parametrize("strategy", ["minority", "not minority", "all", lambda labels: {1: 9}, 0.75, "4,4", "1:4"])
def test_strategies_are_those_of_the_theory(strategy):
    np.testing.assert_array_equal(
        ClassSampler([0, 0, 0, 0, 1], strategy).counts, target_counts([4, 1], strategy, undersample=True)
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"labels": [0, 0, 2]}, "labels must hold every class from 0 to 2; got none of class 1"),
        ({"labels": [0, 0]}, "labels must be of at least two classes"),
        ({"labels": []}, "labels must be one list, one a sample"),
        ({"labels": [[0, 1]]}, "labels must be one list, one a sample"),
        ({"labels": [0.5, 1.0]}, "labels must be whole numbers or names, one a sample; got float64"),
        ({"labels": [-1, 0, 1]}, "labels must be whole numbers from 0; got -1"),
        ({"counts": "2,2"}, "labels must have the counts given, 2x2; got 3,1"),
        ({"counts": "3,1,1"}, "labels must have the counts given, 3,1x2; got 3,1"),
        (
            {"labels": ["ant"] * 4, "counts": ClassCounts(np.array([3, 1]), ("bee", "cat"), "a test")},
            "labels must be among the classes of counts, bee, cat; got 'ant'",
        ),
        ({"sampling_strategy": {2: 5}}, "sampling_strategy must name class numbers from 0 to 1; got 2"),
        ({"sampling_strategy": {1: 0}}, "sampling_strategy must ask for a whole number of at least 1 for class 1; got"),
        ({"sampling_strategy": {1: 1.5}}, "sampling_strategy must ask for a whole number"),
        ({"sampling_strategy": [4, 4, 4]}, "sampling_strategy must have one count a class where it is a list, 2;"),
        ({"sampling_strategy": None}, "sampling_strategy must be a dict"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"rank": 1}, "rank must be given together with num_replicas"),
        ({"num_replicas": 0, "rank": 0}, "num_replicas must be a whole number of at least 1; got 0"),
        ({"num_replicas": 2, "rank": 2}, "rank must be a whole number from 0 to 1; got 2"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        ClassSampler(**{"labels": [0, 0, 0, 1], **arguments})


def test_a_loader_shows_the_counts():
    labels = torch.tensor([0] * 9 + [1] * 2)
    loader = DataLoader(TensorDataset(labels), batch_size=4, sampler=ClassSampler(labels, {0: 5, 1: 7}))
    assert len(loader) == 3
    assert torch.cat([batch for (batch,) in loader]).bincount().tolist() == [5, 7]


def expected(replicas, rank):
    """The parts of a rank, epoch by epoch."""
    sampler = ClassSampler(LABELS, TARGETS, seed=5, num_replicas=replicas, rank=rank)
    parts = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        parts.append(list(sampler))
    return parts


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*number of training batches")
def test_lightning_keeps_the_sampler_and_tells_it_the_epoch():
    listener = Listener()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    Trainer(accelerator="cpu", max_epochs=EPOCHS, enable_model_summary=False, **quiet).fit(listener, loader())
    assert listener.kind == "ClassSampler"
    assert listener.seen == expected(1, 0)
    assert len(set(map(tuple, listener.seen))) == EPOCHS


def test_two_processes_share_an_epoch(tmp_path):
    """Plain process groups and Lightning's: the sampler was made before either."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    results = [tmp_path / f"{rank}.json" for rank in range(2)]
    run_two_workers(main, [(rank, port, tmp_path / "store", result) for rank, result in enumerate(results)])
    answers = [json.loads(result.read_text()) for result in results]
    for rank, answer in enumerate(answers):
        assert answer["kind"] == "ClassSampler"
        assert answer["rank"] == rank
        assert answer["plain"] == answer["lightning"] == expected(2, rank)
    for epoch in range(EPOCHS):
        shown = [answers[place % 2]["plain"][epoch][place // 2] for place in range(sum(TARGETS.values()))]
        assert Counter(LABELS[index] for index in shown) == TARGETS
