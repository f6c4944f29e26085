"""One training run, stated: what decides its numbers, each with its rule; and the seed and name that follow from it.

Read without torch. TOML files of many runs are :mod:`lopsided.runs.grids`'s.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from lopsided.advice import resampled, target_counts
from lopsided.advice.resampling import FEATURE_PENALTY_PER
from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import merge_counts, parse_counts
from lopsided.core.losses import LOSSES, CrossEntropy, Loss, all_settings, make_loss
from lopsided.model import UFM
from lopsided.runs.setting_types import (
    COUNTS,
    FLAG,
    GROUPS,
    STRATEGY,
    TEXT,
    WIDTHS,
    SettingType,
    above,
    between,
    loss_setting,
    one_of,
    setting,
    whole_from,
)

#: Hexadecimal digits of a run's name; two of a million runs share one with a chance below 1e-7.
_DIGEST_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Everything that decides the numbers of one training run.

    Every key has its rule and its help below. What they mean is said by the functions that take them: the data set by
    :func:`lopsided.data.load_data`, the network by :func:`lopsided.training.build_network`, the descent by
    :func:`lopsided.training.train`, the loss by :mod:`lopsided.core.losses`. ``lambda_z`` alone stands for
    λ_w = decay_ratio · λ_z and λ_h = λ_z / decay_ratio. A ``remedy``, by the name that ``advise`` has for it with ``:``
    and its convention where it has two, is worked out and applied by :mod:`lopsided.runs.apply_remedy`. ``seed`` says
    which repetition this is; that of the generators is :attr:`derived_seed`.

    Examples
    --------
    >>> run = Configuration(data="digits", counts="150x5,30x5", lambda_z=0.003)
    >>> run.decays
    {'lambda_w': 0.03, 'lambda_h': 0.0003, 'lambda_b': 0.0}
    >>> run.digest, run.derived_seed
    ('e5dcccb7e7241509', 2313393984)
    """

    data: str = setting(TEXT, "digits (embedded), fashion-mnist, cifar10, cifar100, folder:PATH or MODULE:FACTORY.")
    counts: str = setting(COUNTS, "Samples in each class, such as 150x5,30x5.")
    image_size: int | None = setting(whole_from(1), "Height and width to which images of a folder are scaled.", None)
    network: str = setting(TEXT, "mlp, cnn, resnet18, vgg11, vgg13, or MODULE:FACTORY.", "mlp")
    hidden: tuple[int, ...] | None = setting(
        WIDTHS, "Widths of the hidden layers, such as 128,128; the network's own by default.", None
    )
    dim: int | None = setting(whole_from(2), "Width of the features; the network's own by default.", None)
    features: str = setting(one_of("linear", "relu"), "linear, or relu: features that end in a ReLU.", "linear")
    prediction: str | None = setting(
        one_of("any", "relu"),
        "Features of the model that predicts: any sign, or relu; as the network's by default.",
        None,
    )
    head: str = setting(
        one_of("linear", "etf", "predicted"),
        "linear, which is trained, or fixed: etf, a simplex, or predicted, the optimum's own classifier.",
        "linear",
    )
    bias: bool = setting(FLAG, "Whether the last layer has a bias: true or false.", True)
    lambda_z: float | None = setting(above(0), "Decay of the mean logits, √(λ_w λ_h).", None)
    decay_ratio: float = setting(above(0), "λ_w / λ_z = λ_z / λ_h, where lambda_z alone is given.", 10.0)
    lambda_w: float | None = setting(above(0), "Decay of the classifier, as PyTorch's weight_decay.", None)
    lambda_h: float | None = setting(above(0), "Decay of the features, (λ_h/2)·Σ‖h‖² over all samples.", None)
    lambda_b: float = setting(
        between("[0, ∞)", lambda value: value >= 0), "Decay of the bias; 0 leaves the bias free.", 0.0
    )
    loss: str = setting(one_of(*LOSSES), f"The loss, one of: {', '.join(LOSSES)}.", "cross-entropy")
    weights: tuple[float, ...] | None = loss_setting("weights")
    reduction: str | None = loss_setting("reduction")
    label_smoothing: float | None = loss_setting("label_smoothing")
    logit_adjustment: float | None = loss_setting("logit_adjustment")
    margins: tuple[float, ...] | None = loss_setting("margins")
    scales: tuple[float, ...] | None = loss_setting("scales")
    scale_by: str | None = loss_setting("scale_by")
    gamma: float | None = loss_setting("gamma")
    epochs: int = setting(whole_from(1), "Passes through the data.", 400)
    batch_size: int = setting(whole_from(2), "Largest number of samples in a batch.", 300)
    sampling_strategy: str | None = setting(
        STRATEGY,
        "Samples of each class that an epoch shows: minority, not minority, not majority, all, counts, CLASS:SAMPLES,…"
        " or a share; every sample once by default.",
        None,
    )
    feature_penalty_per: str | None = setting(
        one_of(*FEATURE_PENALTY_PER),
        "Whether features of repeated samples are decayed per appearance, the default, or per sample.",
        None,
    )
    optimizer: str = setting(one_of("adam", "sgd"), "How steps are taken: adam or sgd.", "adam")
    learning_rate: float = setting(above(0), "Length of the steps, at the start.", 0.01)
    momentum: float = setting(between("[0, 1)", lambda value: 0 <= value < 1), "Momentum of sgd.", 0.9)
    schedule: str = setting(
        one_of("cosine", "steps"), "How decays and learning rate move: cosine, or steps as in the paper.", "cosine"
    )
    ramp: float | None = setting(
        between("[0, 1)", lambda value: 0 <= value < 1),
        "Share of the steps on which the decays are smaller; the schedule's own by default.",
        None,
    )
    ramp_start: float | None = setting(
        between("(0, 1]", lambda value: 0 < value <= 1),
        "Factor on the decays at the first step; the schedule's own by default.",
        None,
    )
    crop: int = setting(whole_from(0), "Pixels by which training images are shifted at random, at most.", 0)
    flip: bool = setting(FLAG, "Whether training images are mirrored at random: true or false.", False)
    initialisation: str = setting(
        TEXT, "How weights are drawn at first: default, xavier, he, lecun or orthogonal.", "default"
    )
    extra_layers: int = setting(whole_from(0), "Linear layers between features and last layer.", 0)
    merged_classes: tuple[tuple[int, ...], ...] | None = setting(
        GROUPS, "Classes trained as one, by number: groups such as 5,6;7,8,9.", None
    )
    remedy: str | None = setting(
        TEXT, "A remedy of `lopsided advise`, applied: such as decay, merging or class-weights:samples.", None
    )
    remedy_margin: float | None = setting(
        between("[1, ∞)", lambda value: value >= 1),
        "Threshold over λ_z that the remedy is to give; √2 by default.",
        None,
    )
    remedy_keep: str | None = setting(
        TEXT, "Classes, by number, that the remedy is to keep, such as 5-9,12; all by default.", None
    )
    seed: int = setting(whole_from(0), "Which repetition this is; the seeds follow from all settings.", 0)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value is None and entry.default is None:
                continue
            allowed: SettingType = entry.metadata["type"]
            if not allowed.holds(value):
                raise ArgumentError(entry.name, f"must be {allowed.words}", value)
            object.__setattr__(self, entry.name, allowed.tidy(value))
        for name in ("remedy_margin", "remedy_keep"):
            if (value := getattr(self, name)) is not None and self.remedy is None:
                raise ArgumentError(name, "must be left out without a remedy", got=str(value))
        num_classes = self.model.num_classes  # stating the model checks the decays and the loss
        predictable = (self.head, self.model.features, self.model.loss) == ("linear", "any", CrossEntropy())
        if self.extra_layers and not predictable:
            raise ArgumentError(
                "extra_layers",
                "must be 0 unless the loss is plain cross-entropy, features are of any sign and the head is trained",
                self.extra_layers,
                remedy="no prediction is known for other networks",
            )
        if self.head == "linear" and self.dim is not None and self.dim < num_classes:
            raise ArgumentError(
                "dim",
                f"must be at least the number of classes, {num_classes}, for the prediction to apply",
                self.dim,
            )

    @cached_property
    def model(self) -> UFM:
        """The model whose optimum predicts this run: that of the resampled data, where they are resampled."""
        lambda_w = self.lambda_w
        if self.lambda_z is not None and self.lambda_w is None and self.lambda_h is None:
            lambda_w = self.decay_ratio * self.lambda_z
        model = UFM(
            merge_counts(parse_counts(self.counts), self.merged_classes),
            self.lambda_z,
            lambda_w=lambda_w,
            lambda_h=self.lambda_h,
            lambda_b=self.lambda_b,
            bias=self.bias,
            loss=self.stated_loss,
            features=self.prediction or ("relu" if self.features == "relu" else "any"),
        )
        if self.sampling_strategy is not None:
            shown = target_counts(model.counts, self.sampling_strategy, undersample=True)
            return resampled(model, shown, self.feature_penalty_per or "appearance")
        if self.feature_penalty_per is not None:
            raise ArgumentError(
                "feature_penalty_per",
                "must be left out without a `sampling_strategy`, which says what repeats",
                self.feature_penalty_per,
            )
        return model

    @cached_property
    def stated_loss(self) -> Loss | None:
        """The loss, or None for plain cross-entropy."""
        stated = {name: getattr(self, name) for name in all_settings() if getattr(self, name) is not None}
        return make_loss(self.loss, stated) if stated or self.loss != "cross-entropy" else None

    @property
    def decays(self) -> dict[str, Any]:
        """λ_w, λ_h and λ_b, as ``train`` takes them."""
        return {name: getattr(self.model, name) for name in ("lambda_w", "lambda_h", "lambda_b")}

    def decays_times(self, factor: float) -> dict[str, float]:
        """The decays that were stated, but for that of the bias, times a factor."""
        stated = {name: getattr(self, name) for name in ("lambda_z", "lambda_w", "lambda_h")}
        return {name: factor * decay for name, decay in stated.items() if decay is not None}

    @property
    def descent(self) -> dict[str, Any]:
        """The settings of the descent, as ``train`` takes them."""
        descent = ("epochs", "batch_size", "optimizer", "learning_rate", "momentum", "schedule", "ramp", "ramp_start")
        names = (*descent, "crop", "flip")
        return {name: getattr(self, name) for name in names}

    @property
    def settings(self) -> dict[str, Any]:
        """Every key with its value."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def canonical(self) -> str:
        """The settings as one line of JSON that is the same for the same run, whatever made it.

        Keys are sorted. A key at its default is left out, so that keys which later versions add leave old runs as they
        are; a default, once given, must therefore stay.
        """
        defaults = {entry.name: entry.default for entry in fields(self)}
        kept = {name: value for name, value in self.settings.items() if value != defaults[name]}
        return json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)

    @property
    def digest(self) -> str:
        """Name of the run: the beginning of the SHA-256 of its canonical settings."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()[:_DIGEST_LENGTH]

    @property
    def derived_seed(self) -> int:
        """The seed of samples, initial weights and order: below 2³², hashed from the settings, ``seed`` among them.

        Two runs that differ in any setting start from unrelated states, and a run starts from the same one wherever and
        whenever it is made.
        """
        content = f"seed {self.canonical}".encode()
        return int.from_bytes(hashlib.sha256(content).digest()[:4], "big")

    def replace(self, **changes: Any) -> Configuration:
        """The same run with other settings."""
        return dataclasses.replace(self, **changes)


#: Every key of a run.
KEYS = tuple(entry.name for entry in fields(Configuration))


#: Keys of earlier versions, which files may still use, under their present names.
RENAMED = {"penalised": "feature_penalty_per"}


def known_key(name: str, known: tuple[str, ...] = KEYS) -> str:
    """The present name of a key; one that does not exist is refused, and the nearest named.

    Examples
    --------
    >>> known_key("penalised")
    'feature_penalty_per'
    >>> known_key("lamda_z")
    Traceback (most recent call last):
    ...
    lopsided.core.arguments.ArgumentError: key 'lamda_z' does not exist; the nearest is 'lambda_z'
    """
    present = RENAMED.get(name, name)
    if present not in known:
        (nearest,) = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
        raise ArgumentError("key", f"{name!r} does not exist", remedy=f"the nearest is {nearest!r}")
    return present


def configure(settings: Mapping[str, Any]) -> Configuration:
    """A configuration from the keys and values of a file.

    Examples
    --------
    >>> configure({"data": "digits", "counts": "30x2", "lambda_z": -1})
    Traceback (most recent call last):
    ...
    lopsided.core.arguments.ArgumentError: lambda_z must be a finite number above 0; got -1
    """
    known = {known_key(name): value for name, value in settings.items()}
    for entry in fields(Configuration):
        if entry.default is dataclasses.MISSING and entry.name not in known:
            raise ArgumentError(entry.name, f"must be given: {entry.metadata['help'].rstrip('.')}", got="nothing")
    return Configuration(**known)


def read_setting(name: str, text: str) -> Any:
    """The value of a key from the text of an option; whether it keeps its rule is for :class:`Configuration` to say.

    Examples
    --------
    >>> read_setting("hidden", "64,64"), read_setting("epochs", "20"), read_setting("lambda_z", "small")
    ([64, 64], 20, 'small')
    """
    allowed: SettingType = Configuration.__dataclass_fields__[known_key(name)].metadata["type"]
    return allowed.from_text(text)
