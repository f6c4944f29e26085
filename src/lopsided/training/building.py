"""Networks by name: ours, and anyone's module with a linear head."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lopsided.core.arguments import ArgumentError, check_choice, check_whole
from lopsided.core.factories import is_factory, load_factory
from lopsided.model import UFM
from lopsided.nn.heads import FixedHead, predicted_head, simplex_etf_head
from lopsided.training.convolutional import VGG, VGG_LAYERS, WIDTH, HeadedModule, ResNet18, SmallCNN
from lopsided.training.extra_layers import ExtraLayers
from lopsided.training.networks import FeatureNetwork, LastFeatures, MultilayerPerceptron, checked_dim, seeded

#: Names that :func:`build_network` knows.
NETWORKS = ("mlp", "cnn", "resnet18", *VGG_LAYERS)

#: How the weights of a layer are drawn, by name: Glorot & Bengio (2010), uniform; He et al. (2015), normal with
#: variance 2 over the inputs of a unit; LeCun et al. (1998), normal with variance 1 over them; Saxe et al. (2014),
#: orthogonal.
INITIALISATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "default": None,
    "xavier": nn.init.xavier_uniform_,
    "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "lecun": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}

#: What the last layer may be: trained, or one of two that are not.
Head = Literal["linear", "etf", "predicted"]
HEADS: tuple[Head, ...] = get_args(Head)

#: Widths of the hidden layers, and of the features, where none are given.
_HIDDEN = {"mlp": (256, 256), "cnn": (32, 64, 128)}
_DIM = 32


def build_network(
    name: str,
    input_shape: Sequence[int],
    num_classes: int,
    *,
    dim: int | None = None,
    hidden: Sequence[int] | None = None,
    last_features: LastFeatures = "linear",
    bias: bool = True,
    initialisation: str = "default",
    head: Head = "linear",
    model: UFM | None = None,
    extra_layers: int = 0,
    seed: int = 0,
) -> FeatureNetwork:
    """Build a network by name.

    Parameters
    ----------
    name : {"mlp", "cnn", "resnet18", "vgg11", "vgg13"} or "MODULE:FACTORY"
        ``"mlp"``: a :class:`MultilayerPerceptron`. ``"cnn"``: a few convolutions of stride 2. ``"resnet18"``: with the
        3×3 stem for small images. ``"vgg11"``, ``"vgg13"``: with batch norm and one linear head. Else
        ``FACTORY(input_shape, num_classes)``, imported from MODULE, gives a ``torch.nn.Module`` that ends in a
        ``torch.nn.Linear``; every other setting is its own affair.
    input_shape : sequence of int
        Shape of one input; ``ImbalancedData.input_shape``. Convolutional networks take (channels, height, width).
    num_classes : int
        Number of classes K.
    dim : int, optional
        Width d of the features, at least K unless the head is fixed. By default 32 for "mlp" and "cnn" and the
        published 512 for the others, which get one more linear layer for another width.
    hidden : sequence of int, optional
        Widths of the hidden layers of "mlp", by default (256, 256), or channels of the convolutions of "cnn", by
        default (32, 64, 128).
    last_features : {"linear", "relu"}, default "linear"
        Whether the features pass a ReLU. The model's features are of either sign: "linear". Published ResNets and VGGs
        have "relu".
    bias : bool, default True
        Whether the head has a bias.
    initialisation : {"default", "xavier", "he", "lecun", "orthogonal"}, default "default"
        How the matrices of linear layers and convolutions are drawn; all but "default", which is PyTorch's own, start
        from biases of 0. See :data:`INITIALISATIONS`.
    head : {"linear", "etf", "predicted"}, default "linear"
        ``"etf"``: a classifier that is not trained, of unit rows as far apart as they can be; see
        :func:`lopsided.nn.simplex_etf_head`. ``"predicted"``: not trained either, the classifier of the optimum
        of ``model``; see :func:`lopsided.nn.predicted_head`. What is before the head starts as it would before
        any other.
    model : UFM, optional
        For ``head="predicted"``.
    extra_layers : int, default 0
        Linear layers put between features and head, of any network; see :class:`ExtraLayers`.
    seed : int, default 0
        Decides the initial weights, and the orientation of a fixed head; the global random state is left as it was.

    Returns
    -------
    FeatureNetwork

    Examples
    --------
    >>> network = build_network("mlp", (1, 8, 8), 10, hidden=(64,))
    >>> network.features(torch.zeros(5, 1, 8, 8)).shape, network.head
    (torch.Size([5, 32]), Linear(in_features=32, out_features=10, bias=True))
    """
    check_choice("last_features", last_features, ("linear", "relu"))
    if initialisation not in INITIALISATIONS:
        raise ArgumentError("initialisation", f"must be one of {', '.join(INITIALISATIONS)}", initialisation)
    if head not in HEADS:
        raise ArgumentError("head", f"must be one of {', '.join(HEADS)}", head)
    check_whole("extra_layers", extra_layers, least=0)
    if extra_layers and head != "linear":
        raise ArgumentError("extra_layers", "must be 0 before a head that is not trained", extra_layers)

    def finished(network: FeatureNetwork) -> FeatureNetwork:
        return _initialised(ExtraLayers(network, extra_layers) if extra_layers else network, initialisation)

    if is_factory(name):
        if (dim, hidden, last_features, bias) != (None, None, "linear", True):
            rule = f"{name!r} decides by itself on `dim`, `hidden`, `last_features` and `bias`"
            raise ArgumentError("network", rule, remedy="leave them out")
        own = seeded(lambda: finished(_own(name, tuple(input_shape), num_classes)), seed)
        return _with_head(own, head, model, seed)
    if name not in NETWORKS:
        raise ArgumentError("network", f"must be one of {', '.join(NETWORKS)}, or MODULE:FACTORY", name)
    if hidden is not None and name not in _HIDDEN:
        raise ArgumentError("hidden", f"must be left out: the widths of {name} are fixed", tuple(hidden))
    widths = _HIDDEN.get(name, ()) if hidden is None else tuple(hidden)
    if not all(isinstance(width, int) and width > 0 for width in widths):
        raise ArgumentError("hidden", "must be widths of at least 1, one a hidden layer", widths)
    if name != "mlp" and len(input_shape) != 3:
        rule = f"{name!r} takes images (channels, height, width)"
        raise ArgumentError("network", rule, got=f"inputs of {tuple(input_shape)}")
    width = (_DIM if name in _HIDDEN else WIDTH) if dim is None else dim
    settings: dict[str, Any] = {
        "dim": checked_dim(width, num_classes) if head == "linear" else width,
        "last_features": last_features,
        "bias": bias,
    }

    def build() -> FeatureNetwork:
        if name == "mlp":
            return MultilayerPerceptron(math.prod(input_shape), num_classes, hidden=widths, **settings)
        if name == "cnn":
            return SmallCNN(input_shape[0], num_classes, hidden=widths, **settings)
        if name == "resnet18":
            return ResNet18(input_shape[0], num_classes, **settings)
        return VGG(name, input_shape[0], num_classes, **settings)

    return _with_head(seeded(lambda: finished(build()), seed), head, model, seed)


def _with_head(network: FeatureNetwork, head: Head, model: UFM | None, seed: int) -> FeatureNetwork:
    """The network with the head that was asked for in place of its linear one."""
    old = network.head
    if head == "etf":
        network.head = simplex_etf_head(old.out_features, old.in_features, seed=seed, bias=old.bias is not None)
    elif head == "predicted":
        if model is None or model.num_classes != old.out_features:
            found = "none" if model is None else f"one of {model.num_classes} classes"
            raise ArgumentError("model", f"must be of {old.out_features} classes for head='predicted'", got=found)
        try:
            network.head = predicted_head(model, old.in_features, seed=seed, bias=old.bias is not None)
        except ValueError as error:
            got = f"'predicted', which does not exist: {error}"
            raise ArgumentError("head", "must be 'linear' or 'etf' here", got=got) from None
    return network


def _initialised(network: FeatureNetwork, scheme: str) -> FeatureNetwork:
    """Draw the matrices of a network anew."""
    draw = INITIALISATIONS[scheme]
    if draw is not None:
        for layer in network.modules():
            if isinstance(layer, (nn.Linear, nn.Conv2d)) and not isinstance(layer, FixedHead):
                draw(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
    return network


def _own(name: str, input_shape: tuple[int, ...], num_classes: int) -> FeatureNetwork:
    module = load_factory(name, "network")(input_shape, num_classes)
    if isinstance(module, FeatureNetwork):
        return module
    if not isinstance(module, nn.Module):
        raise ArgumentError("network", f"{name!r} must give a torch.nn.Module", got=type(module).__name__)
    generator = torch.Generator().manual_seed(0)
    return HeadedModule(module, num_classes, torch.randn(2, *input_shape, generator=generator))
