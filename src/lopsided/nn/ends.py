r"""The last things before the head, and what they charge for features.

For a tensor x of the pass let :math:`E(x)=\frac1N\sum_n\|x_n\|^2`, all positions of a sample counted, and R the penalty
on the scales and shifts of the normalisations that it comes from. Going back from the head, the least :math:`\rho` with
:math:`E\le2\rho R` is put together from the parts; then :math:`R\ge\frac1{2\rho N}\|H\|^2`, which is
:math:`\lambda_h=1/(\rho N)`. ``docs/ordinary.md`` proves each rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from lopsided.nn.activations import Activation, activation, single_source
from lopsided.nn.cost import Cost, Norm, NotDescribedError
from lopsided.nn.operations import (
    AVERAGING,
    BATCH_NORM,
    MAXIMUM,
    MAXIMUM_OF_ALL,
    PRODUCTS,
    REARRANGING,
    SELECTING,
    gain_of_average,
    linear_map,
    parameter_of,
    through,
    windows_of_maximum,
)
from lopsided.nn.tracing import Node, Trace

#: What stands between a tensor and the head: a linear map, a positively homogeneous function of single entries (which a
#: factor of at least 0 passes through), or anything.
_LINEAR, _HOMOGENEOUS, _ANY = "linear", "homogeneous", "any"


def read_end(node: Node, trace: Trace, decay: Callable[[str], float]) -> Cost:
    """What the tensor that enters the head costs.

    Parameters
    ----------
    node : Node
        That tensor.
    trace : Trace
        The pass.
    decay : callable
        From the name of a parameter to its decay.

    Raises
    ------
    NotDescribedError
        If no rule bounds it.
    """
    return _Walk(trace, decay).cost(node, _LINEAR)


class _Walk:
    def __init__(self, trace: Trace, decay: Callable[[str], float]) -> None:
        self.batch_size, self.decay = trace.batch_size, decay

    def cost(self, node: Node, ahead: str) -> Cost:
        node = through(node)
        kind = node.kind
        norm = self._norm(node)
        if norm is not None:
            return norm
        if kind in SELECTING:
            return self._selected(node, ahead)
        if kind in AVERAGING:
            return self._averaged(node, ahead)
        if kind in MAXIMUM or (kind in MAXIMUM_OF_ALL and len(node.inputs) == 1 and len(node.args) > 1):
            return self._largest(node)
        if kind in ("cat", "stack"):
            return self._joined(node, ahead)
        if kind == "native_dropout":
            return self._dropped(self.cost(node.inputs[0], ahead), 1 / (1 - float(node.args[1])), ahead)
        if kind in PRODUCTS:
            raise self._product(node, ahead)
        if kind in ("input", "constant", "parameter", "written"):
            raise _leaf(node)
        return self._of_entries(node, ahead)

    def _norm(self, node: Node) -> Cost | None:
        """The cost behind a normalisation, where the node is one."""
        size = node.numel / self.batch_size  # entries of a sample
        if node.kind in BATCH_NORM and node.output == 0:
            training = next(entry for entry in node.args[3:] if isinstance(entry, bool))
            if not training:
                raise NotDescribedError("none", "the batch normalisation before it uses fixed statistics in training")
            positions = size / node.shape[1]
            return self._normalised(node, "batch-norm", node.args[1:3], positions, 1.0, 0.0)
        if node.kind == "native_layer_norm" and node.output == 0:
            width = math.prod(node.args[1])
            return self._normalised(node, "layer-norm", node.args[2:4], size / width, max(1, width - 1), 1.0)
        if node.kind == "native_group_norm" and node.output == 0:
            channels, groups = node.shape[1], int(node.args[6])
            positions, width = size / channels, channels // groups
            spread = max(1, width - (positions == 1))  # one channel alone has mean zero, too
            return self._normalised(node, "group-norm", node.args[1:3], positions, spread, 1.0)
        if node.kind == "_fused_rms_norm" and node.output == 0:
            width = math.prod(node.args[1])
            return self._normalised(node, "rms-norm", (node.args[2], None), size / width, width, 1.0)
        if node.kind == "mul":
            for scale, rest in (node.args[:2], node.args[1::-1]):
                width = _root_mean_square_width(rest)
                if width and parameter_of(scale) is not None:
                    return self._normalised(node, "rms-norm", (scale, None), size / width, width, 1.0)
        return None

    def _normalised(
        self, node: Node, kind: str, parameters: tuple[object, ...], positions: float, spread: float, mixed: float
    ) -> Cost:
        """The energy is ``positions`` times at most spread·‖γ‖² + ‖β‖², the two parts orthogonal unless ``mixed``."""
        names = []
        for entry in (*parameters, None)[:2]:
            found = parameter_of(entry)
            if entry is not None and found is None:
                raise NotDescribedError("unknown", f"the scale of the {kind} before it is computed from other things")
            names.append(None if found is None else found.name)
        scale, shift = names
        by_scale = _price(self.decay(scale)) if scale is not None else math.inf  # x̂ has its size for nothing
        by_shift = _price(self.decay(shift)) if shift is not None else 0.0
        batch = kind == "batch-norm"
        best = spread * by_scale + by_shift if mixed else max(by_scale, by_shift)
        least = min(by_scale, by_shift) if shift is not None else by_scale
        return Cost(
            best=positions * best,
            worst=positions * least if batch and scale is not None else None,
            centred=positions * spread * by_scale,
            exact=batch and by_scale == by_shift,
            nonnegative=False,
            even=not batch and kind != "group-norm",
            norms=(Norm(kind, scale, shift, round(positions)),),
        )

    def _selected(self, node: Node, ahead: str) -> Cost:
        source = node.inputs[0]
        before = self.cost(source, ahead)
        share = node.numel / source.numel
        gain = gain_of_average(node)  # more than 1 where an entry is chosen more than once
        if share == 1 and gain == 1:
            return before
        factor = share if before.even else gain
        return _scaled(
            before, factor, factor, None, exact=False, pooled=before.pooled, remarks=("a choice of some positions",)
        )

    def _averaged(self, node: Node, ahead: str) -> Cost:
        source = node.inputs[0]
        before = self.cost(source, ahead if ahead == _LINEAR else _ANY)
        gain = gain_of_average(node)
        shrinks = source.numel / node.numel
        alone = gain / shrinks if shrinks > 1 else gain
        exact = before.exact and shrinks == 1 and gain == 1
        return _scaled(before, gain, gain, alone, exact=exact, pooled=before.pooled * max(1, round(shrinks)))

    def _largest(self, node: Node) -> Cost:
        source = node.inputs[0]
        before = self.cost(source, _ANY)
        times = windows_of_maximum(node)
        shrinks = source.numel / node.numel
        exact = before.exact and shrinks == 1
        after = _scaled(before, times, times, 1 / shrinks, exact=exact, pooled=before.pooled * max(1, round(shrinks)))
        return replace(after, even=False)

    def _joined(self, node: Node, ahead: str) -> Cost:
        parts = [self.cost(part, ahead) for part in node.inputs]
        total = parts[0]
        for part in parts[1:]:
            apart = not total.parameters & part.parameters
            worst = None if None in (total.worst, part.worst) else min(total.worst, part.worst)  # type: ignore[type-var]
            centred = None
            if total.centred is not None and part.centred is not None:
                centred = max(total.centred, part.centred) if apart else total.centred + part.centred
            total = Cost(
                best=max(total.best, part.best) if apart else total.best + part.best,
                worst=worst if apart else None,
                centred=centred,
                exact=total.exact and part.exact and apart and total.best == part.best,
                nonnegative=total.nonnegative and part.nonnegative,
                even=False,
                norms=total.norms + part.norms,
                branches=max(total.branches, part.branches),
                pooled=max(total.pooled, part.pooled),
                relu=total.relu and part.relu,
                remarks=tuple(dict.fromkeys(total.remarks + part.remarks)),
            )
        return total

    def _added(self, one: Cost, other: Cost, weights: tuple[float, float], *, subtracted: bool) -> Cost:
        first, second = weights[0] ** 2, weights[1] ** 2
        apart = not one.parameters & other.parameters

        def total(a: float, b: float) -> float:
            return a + b if apart else (math.sqrt(a) + math.sqrt(b)) ** 2

        worst = [p.worst * w for p, w in ((one, first), (other, second)) if p.worst is not None]
        centred = None
        if one.centred is not None and other.centred is not None:
            centred = total(first * one.centred, second * other.centred)
        return Cost(
            best=total(first * one.best, second * other.best),
            worst=max(worst) if worst and apart else None,
            centred=centred,
            exact=False,
            nonnegative=one.nonnegative and other.nonnegative and not subtracted,
            even=one.even and other.even,
            norms=tuple(dict.fromkeys(one.norms + other.norms)),
            branches=one.branches + other.branches,
            pooled=max(one.pooled, other.pooled),
            relu=one.relu or other.relu,
            remarks=tuple(dict.fromkeys(one.remarks + other.remarks)),
        )

    def _of_entries(self, node: Node, ahead: str) -> Cost:
        """Functions of single entries, sums, products with random numbers, numbers or what lies between −1 and 1."""
        source = single_source(node)
        facts = activation(node, source) if source is not None and source.shape == node.shape else None
        if facts is not None and source is not None:
            return self._activated(node, source, facts, ahead)
        if node.kind in ("add", "add_", "sub", "sub_"):
            one, other = node.args[:2]
            if isinstance(one, Node) and isinstance(other, Node) and one.varies and other.varies:
                inner = ahead if ahead == _LINEAR else _ANY
                size = float(node.kwargs.get("alpha", 1.0))
                costs = self.cost(one, inner), self.cost(other, inner)
                return self._added(*costs, (1.0, size), subtracted=node.kind.startswith("sub") or size < 0)
        if node.kind in ("mul", "mul_"):
            for entering, factor in (node.args[:2], node.args[1::-1]):
                if isinstance(entering, Node) and isinstance(factor, Node) and entering.varies:
                    if not factor.varies:
                        return self._times_noise(entering, factor, ahead)
                    if self._is_bounded(factor) and parameter_of(factor) is None:
                        before = self.cost(entering, _ANY)
                        remark = "an activation-like gate between 0 and 1"
                        gated = _scaled(before, 1.0, None, None, exact=False, pooled=before.pooled, remarks=(remark,))
                        return replace(gated, nonnegative=False)
        learned = next((found.name for entry in node.inputs if (found := parameter_of(entry)) is not None), None)
        if learned is not None:
            raise NotDescribedError("unknown", f"{learned!r} acts on the features behind the normalisation")
        raise NotDescribedError("unknown", f"what the operation {node.kind!r} does to sizes is not known here")

    def _activated(self, node: Node, source: Node, facts: Activation, ahead: str) -> Cost:
        if math.isinf(facts.gain):
            raise NotDescribedError(
                "unknown", "an activation before it gives something for nothing, so that no size bounds it"
            )
        multiple = facts.homogeneous and facts.least_gain == facts.gain  # u ↦ cu
        if ahead == _LINEAR and facts.homogeneous and not multiple:
            ahead = _HOMOGENEOUS
        before = self.cost(source, ahead if facts.homogeneous else _ANY)
        worst = 1.0 if facts.is_relu else facts.least_gain**2 or None
        lipschitz = None if math.isinf(facts.lipschitz) else facts.lipschitz**2
        after = _scaled(
            before,
            facts.gain**2,
            lipschitz,
            worst,
            exact=before.exact and (facts.is_relu or multiple),
            pooled=before.pooled,
            remarks=() if facts.is_relu or multiple else ("an activation other than ReLU",),
        )
        return replace(
            after,
            nonnegative=facts.nonnegative or (before.nonnegative and (multiple or facts.is_relu)),
            relu=facts.is_relu or before.relu,
            even=before.even,
        )

    def _times_noise(self, entering: Node, noise: Node, ahead: str) -> Cost:
        values = torch.unique(noise.tensor.detach().double())
        largest = float(values.max())
        if not set(values.tolist()) <= {0.0, largest} or largest <= 0 or not noise.random:
            raise NotDescribedError("unknown", "it is multiplied by numbers that are neither learned nor a dropout's")
        if largest <= 1:
            return self._dropped(self.cost(entering, ahead), 1.0, ahead)
        keep = _chance(noise)
        if keep is None or abs(keep * largest - 1) > 1e-3:
            raise NotDescribedError("unknown", "it is multiplied by random numbers that are no dropout's")
        return self._dropped(self.cost(entering, ahead), largest, ahead)

    def _dropped(self, before: Cost, factor: float, ahead: str) -> Cost:
        """Dropout: its mean is what enters, and its mean square at most ``factor`` times as large."""
        passes = ahead != _ANY
        factor = 1.0 if passes else factor
        centred = 1.0 if passes else None
        after = _scaled(before, factor, centred, None, exact=False, pooled=before.pooled, remarks=("dropout",))
        return replace(after, nonnegative=before.nonnegative, even=before.even and passes)

    def _product(self, node: Node, ahead: str) -> NotDescribedError:
        found = linear_map(node)
        weight = None if found is None else parameter_of(found.weight)
        if node.kind in ("convolution", "_convolution"):
            weight = parameter_of(node.args[1])
        if weight is None:
            return NotDescribedError("unknown", f"a product of computed tensors ({node.kind}) makes the features")
        if found is not None and ahead == _LINEAR:
            try:
                self.cost(found.entering, _LINEAR)
            except NotDescribedError as error:
                if error.end == "deep":
                    return NotDescribedError("deep", error.reason, error.layers + 1)
            else:
                return NotDescribedError("deep", "linear layers stand between the last normalisation and the head", 1)
        return NotDescribedError("none", f"{weight.name!r} makes the features, and no normalisation follows it")

    def _is_bounded(self, node: Node) -> bool:
        """Whether every entry lies between −1 and 1, whatever enters."""
        node = through(node, REARRANGING | {"expand"})
        if node.kind in ("_softmax", "_safe_softmax", "softmax"):
            return True
        source = single_source(node)
        facts = activation(node, source) if source is not None else None
        return facts is not None and facts.bounded


def _price(decay: float) -> float:
    return 1 / decay if decay > 0 else math.inf


def _scaled(
    before: Cost,
    best: float,
    centred: float | None,
    worst: float | None,
    *,
    exact: bool,
    pooled: int,
    remarks: tuple[str, ...] = (),
) -> Cost:
    return replace(
        before,
        best=before.best * best,
        worst=None if before.worst is None or worst is None else before.worst * worst,
        centred=None if before.centred is None or centred is None else before.centred * centred,
        exact=exact,
        pooled=pooled,
        remarks=tuple(dict.fromkeys(before.remarks + remarks)),
    )


def _leaf(node: Node) -> NotDescribedError:
    if node.kind == "input":
        return NotDescribedError("none", "the input itself reaches the head, and no normalisation with a scale follows")
    if node.kind == "parameter":
        return NotDescribedError("unknown", f"{node.name!r} is added to the features, or makes them")
    if node.kind == "written":
        return NotDescribedError("unknown", "the features are written into a part of another tensor")
    return NotDescribedError("unknown", "a tensor that is neither computed nor learned makes the features")


def _root_mean_square_width(entry: object) -> int:
    """Over how many entries a tensor is divided by its root mean square; 0 where it is not."""
    node = through(entry) if isinstance(entry, Node) else None
    if node is None or node.kind != "mul":
        return 0
    for entering, root in (node.args[:2], node.args[1::-1]):
        if not isinstance(root, Node) or not isinstance(entering, Node) or through(root).kind != "rsqrt":
            continue
        steps = [through(root)]
        while steps[-1].inputs and len(steps) < 5:
            steps.append(through(steps[-1].inputs[0]))
        kinds = [step.kind.rstrip("_") for step in steps]
        squared = kinds[:4] == ["rsqrt", "add", "mean", "pow"] and steps[3].args[1] == 2
        if squared and steps[4] is through(entering):
            return steps[3].numel // steps[2].numel
    return 0


def _chance(noise: Node) -> float | None:
    """The chance of being kept, of the random bits behind a dropout."""
    node = noise
    while node.kind not in ("bernoulli_", "bernoulli") and node.inputs:
        node = node.inputs[0]
    given = node.args[1] if len(node.args) > 1 else 0.5 if node.kind == "bernoulli_" else None
    return float(given) if isinstance(given, (int, float)) else None
