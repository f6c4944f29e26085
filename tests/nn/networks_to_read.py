"""Small networks whose ends are known by hand: one entry a kind, with what is to be read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

K, D = 3, 6
IMAGE = (4, 3, 8, 8)
ROW = (5, D)


@dataclass(frozen=True)
class Case:
    """What is to be read: λ_h and its upper end in units of λ/N, None where nothing is known."""

    build: Callable[[], nn.Module]
    example: tuple[int, ...]
    end: str
    features: str
    exact: bool
    low: float | None
    high: float | None
    free: tuple[int, int] | None = None  # weight tensors before the head that are scale-free, and all of them


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small products gain nothing from more threads, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Residual(nn.Module):
    """A ResNet-like block, post-activation."""

    def __init__(self, entering: int, width: int, shortcut: str = "identity", activation: str = "relu") -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(entering, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if shortcut == "normalised":
            self.shortcut = nn.Sequential(nn.Conv2d(entering, width, 1, bias=False), nn.BatchNorm2d(width))
        elif shortcut == "convolution":
            self.shortcut = nn.Conv2d(entering, width, 1)
        self.activation = getattr(functional, activation)

    def forward(self, x):
        inner = self.bn2(self.conv2(self.activation(self.bn1(self.conv1(x)))))
        return self.activation(inner + self.shortcut(x))


class PreActivation(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv(functional.relu(self.bn(x)))


class Dense(nn.Module):
    def __init__(self, entering: int, grown: int) -> None:
        super().__init__()
        self.bn, self.conv = nn.BatchNorm2d(entering), nn.Conv2d(entering, grown, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(functional.relu(self.bn(x)))], 1)


class Gated(nn.Module):
    """Squeeze and excitation behind a normalised convolution, added to a normalised shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width)
        self.short, self.bn_short = nn.Conv2d(3, width, 1), nn.BatchNorm2d(width)
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, width, 1), nn.Sigmoid())

    def forward(self, x):
        inner = self.bn(self.conv(x))
        return functional.relu(inner * self.gate(inner) + self.bn_short(self.short(x)))


class Of(nn.Module):
    """A network from a function of its modules and the input."""

    def __init__(self, run: Callable[[Any, Any], Any], **modules: nn.Module) -> None:
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)
        self.run = run

    def forward(self, x):
        return self.run(self, x)


class HandRMS(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), 1e-6

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps))


def mlp(*last: nn.Module, head: int = D) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Linear(D, D), *copy.deepcopy(last), nn.Linear(head, K))


def cnn(*last: nn.Module, width: int = D) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(nn.Conv2d(3, D, 3, padding=1), *copy.deepcopy(last), nn.Flatten(), nn.Linear(width, K))


def bn(dims: int = 1, **settings: Any) -> nn.Module:
    return (nn.BatchNorm1d if dims == 1 else nn.BatchNorm2d)(D, **settings)


POOL = nn.AdaptiveAvgPool2d(1)
CASES: dict[str, Case] = {
    # perceptrons, one position
    "bn": Case(mlp(bn()), ROW, "batch-norm", "any", True, 1, 1, (1, 1)),
    "bn-relu": Case(mlp(bn(), nn.ReLU()), ROW, "batch-norm+relu", "relu", True, 1, 1, (1, 1)),
    "bn-relu-inplace": Case(mlp(bn(), nn.ReLU(inplace=True)), ROW, "batch-norm+relu", "relu", True, 1, 1),
    "relu-bn": Case(mlp(nn.ReLU(), bn()), ROW, "batch-norm", "any", True, 1, 1, (1, 1)),
    "two-bn-relu": Case(
        mlp(bn(), nn.ReLU(), nn.Linear(D, D), bn(), nn.ReLU()), ROW, "batch-norm+relu", "relu", True, 1, 1, (2, 2)
    ),
    "plain-then-bn": Case(
        mlp(nn.ReLU(), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D), bn()), ROW, "batch-norm", "any", True, 1, 1, (1, 3)
    ),
    "bn-leaky": Case(mlp(bn(), nn.LeakyReLU(0.1)), ROW, "batch-norm+activation", "any", False, 1, 100),
    "bn-gelu": Case(mlp(bn(), nn.GELU()), ROW, "batch-norm+activation", "any", False, 1, None),
    "bn-silu": Case(mlp(bn(), nn.SiLU()), ROW, "batch-norm+activation", "any", False, 1, None),
    "bn-hardswish": Case(mlp(bn(), nn.Hardswish()), ROW, "batch-norm+activation", "any", False, 1, None),
    "bn-mish": Case(mlp(bn(), nn.Mish()), ROW, "batch-norm+activation", "any", False, 1, None),
    "bn-tanh": Case(mlp(bn(), nn.Tanh()), ROW, "batch-norm+activation", "any", False, 1, None),
    "bn-elu": Case(mlp(bn(), nn.ELU()), ROW, "batch-norm+activation", "any", False, 1, None),
    "bn-relu6": Case(mlp(bn(), nn.ReLU6()), ROW, "batch-norm+activation", "relu", False, 1, None),
    "bn-sigmoid": Case(mlp(bn(), nn.Sigmoid()), ROW, "unknown", "any", False, None, None),
    "bn-softplus": Case(mlp(bn(), nn.Softplus()), ROW, "unknown", "any", False, None, None),
    "bn-swish-by-hand": Case(
        lambda: Of(
            lambda m, x: m.fc((z := m.bn(m.lin(x))) * torch.sigmoid(z)),
            lin=nn.Linear(D, D),
            bn=bn(),
            fc=nn.Linear(D, K),
        ),
        ROW,
        "batch-norm+activation",
        "any",
        False,
        1,
        None,
    ),
    "bn-times-two": Case(
        lambda: Of(lambda m, x: m.fc(2 * functional.relu(m.bn(x))), bn=bn(), fc=nn.Linear(D, K)),
        ROW,
        "batch-norm+relu",
        "relu",
        True,
        0.25,
        0.25,
    ),
    "bn-no-affine": Case(mlp(bn(affine=False)), ROW, "batch-norm", "any", False, 0, None),
    "bn-dropout": Case(mlp(bn(), nn.ReLU(), nn.Dropout(0.5)), ROW, "batch-norm+relu", "relu", False, 1, None),
    "dropout-gelu": Case(mlp(bn(), nn.Dropout(0.2), nn.GELU()), ROW, "batch-norm+activation", "any", False, 0.8, None),
    "dropout-relu": Case(mlp(bn(), nn.Dropout(0.5), nn.ReLU()), ROW, "batch-norm+relu", "relu", False, 1, None),
    "bn-joined": Case(
        lambda: Of(
            lambda m, x: m.fc(torch.cat([functional.relu(m.bn1(m.lin1(x))), functional.relu(m.bn2(m.lin2(x)))], 1)),
            lin1=nn.Linear(D, D),
            lin2=nn.Linear(D, D),
            bn1=bn(),
            bn2=bn(),
            fc=nn.Linear(2 * D, K),
        ),
        ROW,
        "batch-norm+relu",
        "relu",
        True,
        1,
        1,
        (2, 2),
    ),
    "channel-chosen-twice": Case(
        lambda: Of(lambda m, x: m.fc(m.bn(x)[:, [0, 0, 1, 2, 3, 4]]), bn=bn(), fc=nn.Linear(D, K)),
        ROW,
        "batch-norm",
        "any",
        False,
        1 / 2,
        None,
    ),
    "deep": Case(mlp(bn(), nn.ReLU(), nn.Linear(D, D)), ROW, "deep", "any", False, None, None, (1, 2)),
    "deep-two": Case(mlp(bn(), nn.Linear(D, D), nn.Dropout(), nn.Linear(D, D)), ROW, "deep", "any", False, None, None),
    "relu-after-linear": Case(mlp(bn(), nn.Linear(D, D), nn.ReLU()), ROW, "none", "any", False, None, None, (1, 2)),
    "plain": Case(mlp(nn.ReLU()), ROW, "none", "any", False, None, None, (0, 1)),
    "regression": Case(lambda: nn.Linear(D, K), ROW, "none", "any", False, None, None),
    "ln": Case(mlp(nn.LayerNorm(D)), ROW, "layer-norm", "any", False, 1 / D, None, (1, 1)),
    "ln-relu": Case(mlp(nn.LayerNorm(D), nn.ReLU()), ROW, "layer-norm", "relu", False, 1 / D, None),
    "ln-no-affine": Case(
        mlp(nn.LayerNorm(D, elementwise_affine=False)), ROW, "layer-norm", "any", False, 0, None, (1, 1)
    ),
    "rms": Case(mlp(nn.RMSNorm(D)), ROW, "rms-norm", "any", False, 1 / D, None, (1, 1)),
    "rms-by-hand": Case(mlp(HandRMS(D)), ROW, "rms-norm", "any", False, 1 / D, None, (1, 1)),
    "gn": Case(mlp(nn.GroupNorm(2, D)), ROW, "group-norm", "any", False, 1 / (D // 2), None, (1, 1)),
    "learned-scale-behind": Case(
        lambda: Of(
            lambda m, x: m.fc(m.bn(m.lin(x)) * m.other.weight[0]),
            lin=nn.Linear(D, D),
            bn=bn(),
            other=nn.Linear(D, 1),
            fc=nn.Linear(D, K),
        ),
        ROW,
        "unknown",
        "any",
        False,
        None,
        None,
    ),
    # images, 64 positions
    "cnn-avg": Case(cnn(bn(2), nn.ReLU(), POOL), IMAGE, "pooled", "relu", False, 1, 64, (1, 1)),
    "cnn-mean": Case(
        lambda: Of(
            lambda m, x: m.fc(functional.relu(m.bn(m.conv(x))).mean((2, 3))),
            conv=nn.Conv2d(3, D, 3, padding=1),
            bn=bn(2),
            fc=nn.Linear(D, K),
        ),
        IMAGE,
        "pooled",
        "relu",
        False,
        1,
        64,
        (1, 1),
    ),
    "cnn-max": Case(cnn(bn(2), nn.ReLU(), nn.AdaptiveMaxPool2d(1)), IMAGE, "pooled", "relu", False, 1 / 64, 1),
    "cnn-flat": Case(cnn(bn(2), nn.ReLU(), width=64 * D), IMAGE, "batch-norm+relu", "relu", True, 1 / 64, 1 / 64),
    "cnn-windows": Case(
        cnn(bn(2), nn.ReLU(), nn.AvgPool2d(2), width=16 * D), IMAGE, "pooled", "relu", False, 1 / 16, 1 / 4
    ),
    "cnn-max-windows": Case(
        cnn(bn(2), nn.ReLU(), nn.MaxPool2d(3, 2, 1), width=16 * D), IMAGE, "pooled", "relu", False, 1 / 256, 1 / 16
    ),
    "cnn-one-position": Case(
        lambda: nn.Sequential(
            nn.Conv2d(3, D, 8), nn.BatchNorm2d(D), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(D, K)
        ),
        IMAGE,
        "batch-norm+relu",
        "relu",
        True,
        1,
        1,
        (1, 1),
    ),
    "cnn-channels-dropout": Case(
        cnn(bn(2), nn.ReLU(), nn.Dropout2d(0.3), POOL), IMAGE, "pooled", "relu", False, 1, None
    ),
    "vgg-bn": Case(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, D, 3, padding=1), nn.BatchNorm2d(D), nn.ReLU(True), nn.MaxPool2d(2)),
            *(nn.Conv2d(D, D, 3, padding=1), nn.BatchNorm2d(D), nn.ReLU(True), nn.MaxPool2d(2)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * D, K)),
        ),
        IMAGE,
        "pooled",
        "relu",
        False,
        1 / 16,
        1 / 4,
        (2, 2),
    ),
    "resnet-one-block": Case(cnn(Residual(D, D, "normalised"), POOL), IMAGE, "residual", "relu", False, 1 / 2, 64),
    "resnet-stage": Case(
        cnn(Residual(D, D, "normalised"), Residual(D, D), POOL), IMAGE, "residual", "relu", False, 1 / 3, 64, (6, 6)
    ),
    "resnet-three-blocks": Case(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, D, 3), nn.BatchNorm2d(D), nn.ReLU()),
            *(Residual(D, D, "normalised"), Residual(D, D), Residual(D, D)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(D, K)),
        ),
        IMAGE,
        "residual",
        "relu",
        False,
        1 / 4,
        36,
        (8, 8),
    ),
    "resnet-open-shortcut": Case(cnn(Residual(D, D), POOL), IMAGE, "none", "any", False, None, None),
    "resnet-plain-shortcut": Case(cnn(Residual(D, D, "convolution"), POOL), IMAGE, "none", "any", False, None, None),
    "preactivation": Case(
        cnn(PreActivation(D), PreActivation(D), bn(2), nn.ReLU(), POOL), IMAGE, "pooled", "relu", False, 1, 64, (3, 3)
    ),
    "densenet": Case(
        lambda: nn.Sequential(
            *(nn.Conv2d(3, D, 3, padding=1), Dense(D, 4), Dense(D + 4, 4), nn.BatchNorm2d(D + 8), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(D + 8, K)),
        ),
        IMAGE,
        "pooled",
        "relu",
        False,
        1,
        64,
        (3, 3),
    ),
    "squeeze-excite": Case(
        lambda: nn.Sequential(Gated(D), POOL, nn.Flatten(), nn.Linear(D, K)),
        IMAGE,
        "residual",
        "relu",
        False,
        1 / 2,
        64,
        (2, 3),
    ),
    "avg-and-max": Case(
        lambda: Of(
            lambda m, x: m.fc(torch.cat([(z := m.bn(m.conv(x))).mean((2, 3)), z.amax((2, 3))], 1)),
            conv=nn.Conv2d(3, D, 3, padding=1),
            bn=bn(2),
            fc=nn.Linear(2 * D, K),
        ),
        IMAGE,
        "pooled",
        "any",
        False,
        1 / 65,
        None,
    ),
    "gn-pooled": Case(
        cnn(nn.GroupNorm(2, D), nn.ReLU(), POOL), IMAGE, "group-norm", "relu", False, 1 / 4, None, (1, 1)
    ),
    "no-norm-cnn": Case(cnn(nn.ReLU(), POOL), IMAGE, "none", "any", False, None, None, (0, 1)),
    "convolution-then-pool": Case(
        cnn(bn(2), nn.ReLU(), nn.Conv2d(D, D, 1), POOL), IMAGE, "none", "any", False, None, None, (1, 2)
    ),
    # what layers behind are scaled by other means
    "weight-norm-before": Case(
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(D, D)), nn.BatchNorm1d(D), nn.Linear(D, K)
        ),
        ROW,
        "batch-norm",
        "any",
        True,
        1,
        1,
        (2, 2),
    ),
    "spectral-norm-before": Case(
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(D, D)), nn.BatchNorm1d(D), nn.Linear(D, K)),
        ROW,
        "batch-norm",
        "any",
        True,
        1,
        1,
        (1, 1),
    ),
    "log-softmax": Case(
        lambda: nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Linear(D, K), nn.LogSoftmax(1)),
        ROW,
        "batch-norm",
        "any",
        True,
        1,
        1,
        (1, 1),
    ),
    "tokens-mean": Case(
        lambda: Of(
            lambda m, x: m.fc(m.norm(m.layer(x)).mean(1)),
            layer=nn.TransformerEncoderLayer(D, 2, 8, batch_first=True, norm_first=True),
            norm=nn.LayerNorm(D),
            fc=nn.Linear(D, K),
        ),
        (4, 5, D),
        "layer-norm",
        "any",
        False,
        1 / D,
        None,
    ),
    "tokens-first": Case(
        lambda: Of(
            lambda m, x: m.fc(m.layer(x)[:, 0]),
            layer=nn.TransformerEncoderLayer(D, 2, 8, batch_first=True),
            fc=nn.Linear(D, K),
        ),
        (4, 5, D),
        "layer-norm",
        "any",
        False,
        1 / D,
        None,
    ),
    "recurrent": Case(
        lambda: Of(lambda m, x: m.fc(m.gru(x)[0][:, -1]), gru=nn.GRU(D, D, batch_first=True), fc=nn.Linear(D, K)),
        (4, 5, D),
        "unknown",
        "any",
        False,
        None,
        None,
    ),
}
