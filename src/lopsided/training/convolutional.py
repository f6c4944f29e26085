"""Convolutional networks: a small one with strides, ResNet18 with the CIFAR stem, VGG with batch norm.

They take images of any size and number of ``channels``; what else they take is that of
:class:`lopsided.training.networks.Layered`. The features that enter the head are linear or have passed a ReLU.
ResNet18 and VGG end in the 512 features of their papers and have their sizes; with another width a linear layer stands
before the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lopsided.core.arguments import ArgumentError
from lopsided.nn.heads import FixedHead
from lopsided.training.networks import BodyAndHead, LastFeatures, Layered

#: Features of ResNet18 and VGG.
WIDTH = 512
#: Channels of each convolution of a VGG (Simonyan & Zisserman, ICLR 2015); None is a max-pool that halves the image.
VGG_LAYERS: dict[str, tuple[int | None, ...]] = {
    "vgg11": (64, None, 128, None, 256, 256, None, 512, 512, None, 512, 512, None),
    "vgg13": (64, 64, None, 128, 128, None, 256, 256, None, 512, 512, None, 512, 512, None),
}


class SmallCNN(Layered):
    """3×3 convolutions of stride 2 with batch norm and ReLU, a mean over the image, a feature layer, a linear head.

    ``hidden`` are the channels of each convolution.
    """

    def __init__(self, channels: int, num_classes: int, *, hidden: Sequence[int], **features: Any) -> None:
        layers: list[nn.Module] = []
        for width in hidden:
            convolution = nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        super().__init__([*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()], channels, num_classes, **features)


class _Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut (He et al., CVPR 2016), with or without the closing ReLU."""

    def __init__(self, channels: int, width: int, stride: int, *, closed: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )
        self.closed = closed

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.first_norm(self.first(inputs)))
        total: Tensor = self.second_norm(self.second(hidden)) + self.shortcut(inputs)
        return functional.relu(total) if self.closed else total


class ResNet18(Layered):
    """ResNet18 for small images: a 3×3 convolution of stride 1 instead of the stem with a max-pool.

    Features that have passed a ReLU are those of the paper; linear ones leave out the very last ReLU, before the mean
    over the image.
    """

    def __init__(self, channels: int, num_classes: int, *, dim: int, last_features: LastFeatures, bias: bool) -> None:
        projected, width = dim != WIDTH, 64
        stem = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU()]
        for stage, following in enumerate((64, 128, 256, 512)):
            for block in range(2):
                last = (stage, block) == (3, 1) and not projected
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(_Block(width, following, stride, closed=not last or last_features == "relu"))
                width = following
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(
            layers, width, num_classes, dim=dim, last_features=last_features, bias=bias, projected=projected
        )


class VGG(Layered):
    """VGG11 or VGG13 with batch norm and one linear head, in place of the three layers meant for large images.

    ``name`` is one of :data:`VGG_LAYERS`. Features that have passed a ReLU are those of the paper; linear ones leave
    out the ReLU of the last convolution.
    """

    def __init__(
        self, name: str, channels: int, num_classes: int, *, dim: int, last_features: LastFeatures, bias: bool
    ) -> None:
        projected = dim != WIDTH
        layers: list[nn.Module] = []
        for width in VGG_LAYERS[name]:
            if width is None:
                # Rounding up leaves 32×32 images as they are in the paper, and keeps one pixel of smaller ones.
                layers.append(nn.MaxPool2d(2, ceil_mode=True))
            else:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
                channels = width
        if not projected and last_features == "linear":
            del layers[-2]
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(
            layers, channels, num_classes, dim=dim, last_features=last_features, bias=bias, projected=projected
        )


class HeadedModule(BodyAndHead):
    """Someone's own classifier whose last operation is a linear layer.

    Parameters
    ----------
    module : torch.nn.Module
        Maps inputs to logits. Its last ``torch.nn.Linear`` with K outputs is taken out and becomes the head.
    num_classes : int
        Number of classes K.
    example : (B, …) tensor
        Inputs, on which it is checked that the head is the last operation.

    Raises
    ------
    ValueError
        If there is no such layer, or anything happens to its output, or its input is not one vector a sample.

    Examples
    --------
    >>> module = nn.Sequential(nn.Flatten(), nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> network = HeadedModule(module, 3, torch.zeros(2, 1, 2, 2))
    >>> network.head, network.features(torch.ones(5, 1, 2, 2)).shape
    (Linear(in_features=8, out_features=3, bias=True), torch.Size([5, 8]))
    """

    def __init__(self, module: nn.Module, num_classes: int, example: Tensor) -> None:
        super().__init__()
        heads = [
            (name, layer)
            for name, layer in module.named_modules()
            if type(layer) in (nn.Linear, FixedHead) and layer.out_features == num_classes
        ]
        if not heads or not heads[-1][0]:
            rule = f"must end in a torch.nn.Linear with one output a class, {num_classes}"
            raise ArgumentError("network", rule, remedy=f"{type(module).__name__} holds none")
        name, head = heads[-1]
        was_training = module.training
        module.eval()
        with torch.no_grad():
            expected = module(example)
            parent, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(parent), attribute, nn.Identity())
            features = module(example)
            fits = features.shape == (len(example), head.in_features)
            fits = fits and torch.allclose(head(features), expected, rtol=1e-4, atol=1e-5)
        module.train(was_training)
        if not fits:
            rule = "must end in its linear head, with one vector of features a sample"
            seen = f"in {type(module).__name__} something follows the layer {name!r}, or it is not applied to vectors"
            raise ArgumentError("network", rule, remedy=seen)
        self.body = module
        self.head = head
