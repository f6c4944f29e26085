"""Batches: shifted and mirrored images only where asked, and only by what was asked."""

from __future__ import annotations

import pytest
import torch

from lopsided.data import load_data
from lopsided.training import Augmentation, build_network, train
from lopsided.training.batches import Batches

IMAGES = torch.randn(200, 3, 5, 7, generator=torch.Generator().manual_seed(0)).abs() + 0.1


def generator():
    return torch.Generator().manual_seed(4)


def shifts(image, size):
    """Every shift of an image, by the definition: pixel by pixel."""
    _, height, width = image.shape
    for down in range(-size, size + 1):
        for right in range(-size, size + 1):
            shifted = torch.zeros_like(image)
            for row in range(height):
                for column in range(width):
                    if 0 <= row - down < height and 0 <= column - right < width:
                        shifted[:, row, column] = image[:, row - down, column - right]
            yield (down, right), shifted


@pytest.mark.slow
def test_every_shift_occurs_and_nothing_else():
    found = set()
    for image, moved in zip(IMAGES, Augmentation(crop=1)(IMAGES, generator()), strict=True):
        names = [name for name, shifted in shifts(image, 1) if torch.equal(shifted, moved)]
        assert len(names) == 1
        found |= set(names)
    assert len(found) == 9


def test_about_half_are_mirrored():
    moved = Augmentation(flip=True)(IMAGES, generator())
    mirrored = (moved == IMAGES.flip(-1)).all(dim=(1, 2, 3))
    assert torch.equal(moved[~mirrored], IMAGES[~mirrored])
    assert 70 < mirrored.sum() < 130


def test_epochs_differ_and_can_be_skipped():
    data = load_data("digits", "9,5")

    def epochs(batches, number):
        return [torch.cat([inputs for inputs, _ in batches]) for _ in range(number)]

    whole = epochs(Batches(data, 4, 7, Augmentation(crop=2, flip=True)), 3)
    assert not torch.equal(whole[0], whole[1])
    later = Batches(data, 4, 7, Augmentation(crop=2, flip=True))
    later.skip(2)
    assert torch.equal(epochs(later, 1)[0], whole[2])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"crop": -1}, "crop must be a whole number of at least 0; got -1"), ({"crop": 1.5}, "crop must be a whole")],
)
def test_bad_augmentation_is_named(settings, message):
    data = load_data("digits", "5,5")
    network = build_network("mlp", data.input_shape, 2)
    with pytest.raises(ValueError, match=message):
        train(network, data, lambda_w=0.1, lambda_h=0.1, epochs=1, learning_rate=0.1, **settings)
