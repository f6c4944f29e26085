r"""The convex program over frozen features: what is minimised, its value and its slopes.

With the features :math:`\varphi_n` of a network frozen, and only what carries scale free to move, training is

.. math:: \min_{V,b}\ \sum_n\omega_n\,\ell(V\varphi_n+b,\,y_n)+\kappa\,\Omega(V)+\tfrac{\lambda_b}2\|b\|^2,\qquad
          \kappa=\sqrt{\lambda_w\lambda_s},

Ω a sum of norms of channels or the trace norm (``penalties.py``). A constant column stands in the features for the
bias, so that weights and bias are one matrix X of K rows. Logits and probabilities lie as (K, N): sums over the few
classes then run along the many samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lopsided.core.losses import ClassTerms
from lopsided.forecast.penalties import Penalty
from lopsided.solver.arrays import NUMPY, Array, Backend


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The loss at a matrix of logits.

    Attributes
    ----------
    loss : float
        Σ ω ℓ, in nats.
    probabilities : (K, N) array
        The softmax inside the loss.
    """

    loss: float
    probabilities: Array


class Program:
    """A loss over frozen features, and the penalty's kind; the decays are not part of it.

    Parameters
    ----------
    features : (N, d) array of float64
        So scaled or whitened that every channel costs 1.
    labels : (N,) array of int
    sample_weights : (N,) array
        How many samples each row stands for.
    terms : ClassTerms
        What the loss does to each class.
    penalty : Penalty
    bias : bool
        Whether there is one.
    backend : Backend
        Where the arrays live.
    """

    def __init__(
        self,
        features: Array,
        labels: NDArray[np.int64],
        sample_weights: NDArray[np.float64],
        terms: ClassTerms,
        penalty: Penalty,
        bias: bool,
        backend: Backend = NUMPY,
    ) -> None:
        xp = backend.xp
        self.backend, self.xp, self.penalty, self.terms = backend, xp, penalty, terms
        self.num_samples, self.num_channels = features.shape
        self.num_classes = len(terms.weights)
        self.host_labels, self.host_weights = labels, sample_weights
        self.labels = backend.array(labels)
        self.samples = backend.array(np.arange(len(labels)))
        self.omega = backend.array(sample_weights * terms.weights[labels] / terms.normaliser)
        #: What the constant column holds: about the size of the features, so that one step size fits all.
        self.constant = 1.0
        if bias:
            self.constant = float(xp.mean(features**2)) ** 0.5 or 1.0
            column = xp.full((self.num_samples, 1), self.constant, dtype=features.dtype, device=backend.device)
            features = xp.concat([features, column], axis=1)
        self.features, self.bias = features, bias
        rows, columns = terms.row_scales, terms.column_scales
        #: ρ of each sample and γ of each class; None where all are 1.
        self.rows = backend.array(rows[labels]) if np.any(rows != 1) else None
        self.columns = backend.array(columns)[:, None] if np.any(columns != 1) else None
        self.offsets = backend.array(terms.offsets)[:, None] if np.any(terms.offsets != 0) else None
        self.margins = backend.array(terms.margins[labels]) if np.any(terms.margins != 0) else None
        #: What a slope in the logits inside the loss weighs: ω ρ.
        self.pull = self.omega if self.rows is None else self.omega * self.rows

    @cached_property
    def single(self) -> Array:
        """The features in single precision, which is enough for second derivatives."""
        return self.xp.astype(self.features, self.xp.float32)

    @cached_property
    def draws(self) -> Array:
        """(N,) numbers in [0, 1), the same every time: which rows stand for others in a second derivative."""
        return self.backend.array(np.random.default_rng(0).random(self.num_samples))

    @cached_property
    def energies(self) -> Array:
        """(d,) Σ_n ω ρ² φ_nj² of each channel."""
        pull = self.omega if self.rows is None else self.omega * self.rows**2
        return pull @ self.features[:, : self.num_channels] ** 2

    def zeros(self) -> Array:
        """A matrix of weights, and of biases in its last column, of zeros."""
        shape = (self.num_classes, self.features.shape[1])
        return self.xp.zeros(shape, dtype=self.features.dtype, device=self.backend.device)

    def ridge(self, bias_decay: float) -> float:
        """The curvature of the penalty of an entry of the bias's column."""
        return bias_decay * self.constant**2 if self.bias else 0.0

    def inside(self, logits: Array) -> Array:
        """The logits inside the loss: scaled, shifted, the own one less its margin."""
        value = logits
        if self.columns is not None:
            value = value * self.columns
        if self.rows is not None:
            value = value * self.rows
        if self.offsets is not None:
            value = value + self.offsets
        if self.margins is not None:
            value = value + 0.0
            value[self.labels, self.samples] -= self.margins
        return value

    def evaluate(self, logits: Array) -> Evaluation:
        """Loss and softmax at (K, N) logits."""
        xp = self.xp
        inside = self.inside(logits)
        top = xp.max(inside, axis=0)
        shifted = inside - top
        own = shifted[self.labels, self.samples]
        smoothing = self.terms.smoothing
        if smoothing:
            own = (1 - smoothing) * own + smoothing * xp.mean(shifted, axis=0)
        masses = xp.exp(shifted)
        total = xp.sum(masses, axis=0)
        loss = float(self.omega @ (xp.log(total) - own))
        masses /= total
        return Evaluation(loss, masses)

    def targets(self, scale: float = 1.0) -> Array:
        """(K, N) the targets, each times ``scale``."""
        xp, smoothing = self.xp, self.terms.smoothing
        shape = (self.num_classes, self.num_samples)
        fill = scale * smoothing / self.num_classes
        value = xp.full(shape, fill, dtype=self.features.dtype, device=self.backend.device)
        value[self.labels, self.samples] += scale * (1 - smoothing)
        return value

    def excess(self, probabilities: Array) -> Array:
        """(K, N) probabilities less targets."""
        smoothing = self.terms.smoothing
        value = probabilities - smoothing / self.num_classes
        value[self.labels, self.samples] -= 1 - smoothing
        return value

    def slopes(self, probabilities: Array) -> Array:
        """(K, D) the loss's gradient in X at a softmax."""
        slope = self.excess(probabilities)
        slope *= self.pull
        if self.columns is not None:
            slope *= self.columns
        return slope @ self.features

    def slopes_without_weights(self, point: Array) -> Array:
        """The gradient at a point without weights, from the classes' sums: samples of a class share their logits."""
        terms, backend = self.terms, self.backend
        scales = terms.row_scales[:, None] * terms.column_scales
        inside = scales * (backend.host(point[:, -1]) * self.constant if self.bias else 0.0)
        inside = inside + terms.offsets - np.diag(terms.margins)
        masses = np.exp(inside - inside.max(axis=1, keepdims=True))
        excess = masses / masses.sum(axis=1, keepdims=True) - terms.smoothing / self.num_classes
        excess -= (1 - terms.smoothing) * np.eye(self.num_classes)
        return backend.array((scales * excess).T) @ self._class_sums

    @cached_property
    def _class_sums(self) -> Array:
        """(K, D) Σ ω φ over the samples of each class."""
        mine = self.zeros()
        for k in range(self.num_classes):
            rows = self.xp.nonzero(self.labels == k)[0]
            mine[k, :] = self.xp.take(self.omega, rows) @ self.xp.take(self.features, rows, axis=0)
        return mine

    def bias_only(self, bias_decay: float) -> Array:
        """The best X without weights: a bias, where there is one. Samples of a class share their logits."""
        best = self.zeros()
        if not self.bias:
            return best
        terms, classes = self.terms, self.num_classes
        shares = np.bincount(self.host_labels, self.host_weights, classes) * terms.weights / terms.normaliser
        scales = terms.row_scales[:, None] * terms.column_scales
        targets = (1 - terms.smoothing) * np.eye(classes) + terms.smoothing / classes
        shift = terms.offsets - np.diag(terms.margins)
        bias = np.zeros(classes)

        def value(bias: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            inside = scales * bias + shift
            top = inside.max(axis=1, keepdims=True)
            masses = np.exp(inside - top)
            total = masses.sum(axis=1, keepdims=True)
            losses = (np.log(total) + top)[:, 0] - (targets * inside).sum(axis=1)
            return float(shares @ losses) + bias_decay / 2 * float(bias @ bias), masses / total

        now, probabilities = value(bias)
        for _ in range(100):
            pull = shares[:, None] * scales
            slope = (pull * (probabilities - targets)).sum(axis=0) + bias_decay * bias
            curved = scales * probabilities
            curvature = np.diag((pull * curved).sum(axis=0)) - (shares[:, None] * curved).T @ curved
            curvature += (bias_decay + 1e-14 * np.trace(curvature)) * np.eye(classes)
            step = np.linalg.lstsq(curvature, -slope, rcond=None)[0]
            size = 1.0
            while size > 1e-10:
                trial, trial_probabilities = value(bias + size * step)
                if trial <= now + 1e-4 * size * float(slope @ step) + 1e-16:
                    break
                size /= 2
            else:
                break
            bias = bias + size * step
            finished = np.abs(size * step).max() <= 1e-14 * (1 + np.abs(bias).max())
            now, probabilities = trial, trial_probabilities
            if finished:
                break
        best[:, -1] = self.backend.array(bias / self.constant)
        return best
