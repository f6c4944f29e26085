"""Classifier heads whose weight is given and never trained: a simplex, or the classifier of a predicted optimum."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from lopsided.core.arguments import ArgumentError, check_number
from lopsided.core.solution import Solution
from lopsided.model import UFM
from lopsided.solver.directions import orthonormal_rows, simplex_directions


class FixedHead(nn.Linear):
    """A linear layer whose weight is a buffer: stored in checkpoints and moved with the module, but never trained.

    It is a ``torch.nn.Linear`` to whoever asks for ``weight``, ``bias``, ``in_features`` or ``out_features``. The
    weight is no parameter, so that no optimiser sees or decays it; :func:`lopsided.training.train` leaves it out of the
    objective, and :func:`lopsided.solver.fixed_classifier_optimum` predicts where such a network ends.

    Parameters
    ----------
    weight : (K, d) array_like or tensor
        One row a class; copied, in float32 unless a tensor of another floating type is given.
    bias : bool, default False
        Whether there is a bias, which is trained and starts from zero. With a free one the decisions follow the
        counts again; see docs/preventing.md.

    Examples
    --------
    >>> head = FixedHead([[1.0, 0.0], [-1.0, 0.0]])
    >>> head, list(head.state_dict()), list(head.parameters())
    (FixedHead(in_features=2, out_features=2, bias=False), ['weight'], [])
    """

    weight: Tensor

    def __init__(self, weight: ArrayLike | Tensor, bias: bool = False) -> None:
        nn.Module.__init__(self)  # Linear's own would make the weight a parameter
        given = weight if isinstance(weight, Tensor) else torch.as_tensor(np.asarray(weight, dtype=np.float32))
        if given.ndim != 2 or not given.is_floating_point() or not bool(given.isfinite().all()):
            found = f"{given.dtype} of {tuple(given.shape)}"
            raise ArgumentError("weight", "must be a finite (K, d) matrix of floating type", got=found)
        self.out_features, self.in_features = given.shape
        self.register_buffer("weight", given.detach().clone())
        self.register_parameter("bias", nn.Parameter(given.new_zeros(self.out_features)) if bias else None)

    @property
    def fingerprint(self) -> str:
        """The beginning of the SHA-256 of the weight."""
        return hashlib.sha256(self.weight.detach().cpu().double().numpy().tobytes()).hexdigest()[:16]

    def reset_parameters(self) -> None:
        """Set the bias to zero; the weight stays."""
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def simplex_etf_head(num_classes: int, dim: int, *, scale: float = 1.0, seed: int = 0, bias: bool = False) -> FixedHead:
    """Return a head whose rows are a simplex equiangular tight frame, or as near to one as the dimension allows.

    Parameters
    ----------
    num_classes, dim : int
        K and d. Below K − 1 dimensions the rows are a spherical code: see
        :func:`lopsided.solver.simplex_directions`, and :func:`lopsided.solver.largest_cosine` for how near two
        classes come.
    scale : float, default 1
        Length of every row. It acts as λ_h does: only scale² / λ_h counts.
    seed : int, default 0
        Decides the orientation.
    bias : bool, default False
        Whether there is a bias, which is trained.

    Examples
    --------
    >>> head = simplex_etf_head(10, 32, scale=2.0)
    >>> bool(torch.allclose(head.weight @ head.weight.T, 4 * (10 * torch.eye(10) - 1) / 9, atol=1e-5))
    True
    """
    check_number("scale", scale, above=0)
    return FixedHead(scale * simplex_directions(num_classes, dim, seed=seed), bias)


def predicted_head(problem: UFM | Solution, dim: int, *, seed: int = 0, bias: bool | None = None) -> FixedHead:
    """Return a head with the classifier of a predicted optimum, turned into the feature space.

    The classifier of the network's own optimum holds classes apart no better than training it would. To prevent
    collapse take the optimum of another problem: at a smaller decay, with weights, or with other counts.

    Parameters
    ----------
    problem : UFM or Solution
        What is predicted, solved if need be.
    dim : int
        d, at least the rank of the classifier, which is K − 1 at most but for squared error. Of a lower rank only an
        approximation would fit, without the directions of least weight; and these are what tells rare classes apart.
    seed : int, default 0
        Decides the orientation.
    bias : bool, optional
        Whether there is a bias, which is trained and starts from zero; as in the problem by default.

    Raises
    ------
    ValueError
        If ``dim`` is below the rank, the rank is 0, or features of the problem end in a ReLU, where turning changes
        the geometry.

    Examples
    --------
    >>> import lopsided as lp
    >>> solution = lp.UFM("500x5,100x5", lambda_z=1e-3).solve()
    >>> gram = predicted_head(solution, 32).weight.double() @ predicted_head(solution, 32).weight.double().T
    >>> bool(np.allclose(gram, solution.geometry.gram_classifier, atol=1e-5))
    True
    """
    solution = problem if isinstance(problem, Solution) else problem.solve()
    if solution.problem.features != "any":
        rule = "must have features of any sign for predicted_head(), which rotates them"
        raise ArgumentError("problem", rule, got=str(solution.problem))
    left, values, _ = np.linalg.svd(solution.geometry.classifier, full_matrices=False)
    rank = int(np.sum(values > 1e-9 * max(float(values[0]), 1e-300)))
    if rank == 0:
        remedy = f"all have merged in {solution.problem}; lower the decay"
        raise ArgumentError("problem", "must keep some classes apart", remedy=remedy)
    if not isinstance(dim, int) or isinstance(dim, bool) or dim < rank:
        raise ArgumentError(
            "dim",
            f"must be a whole number of at least the rank of the predicted classifier, {rank}",
            dim,
            remedy="widen the features, or take simplex_etf_head, which fits any `dim`",
        )
    basis = orthonormal_rows(rank, dim, np.random.default_rng(seed))
    weight = (left[:, :rank] * values[:rank]) @ basis
    return FixedHead(weight, solution.problem.bias if bias is None else bias)
