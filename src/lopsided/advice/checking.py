"""``check``: will these decays erase classes? From counts and decays alone, before anything is trained."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from lopsided.advice.ordinary import ReadDecays, check_network, outlook_of_network
from lopsided.advice.outlook import assumptions_of, checked_margin, outlook_of
from lopsided.advice.resampling import FEATURE_PENALTY_PER, resampled, target_counts
from lopsided.core.arguments import ArgumentError, check_choice
from lopsided.core.count_sources import ClassCounts, read_counts
from lopsided.core.ends import read_end
from lopsided.core.losses import Loss
from lopsided.core.outlook import FADING, Outlook
from lopsided.model import UFM
from lopsided.theory import class_thresholds, thresholds


def check(
    counts: str | ArrayLike | ClassCounts,
    lambda_z: float | None = None,
    *,
    weight_decay: float | None = None,
    feature_decay: float | None = None,
    end: str | None = None,
    network: ReadDecays | None = None,
    lambda_b: float | None = None,
    bias: bool = True,
    loss: Loss | None = None,
    features: str = "any",
    margin: float = FADING,
    sampling_strategy: Any = None,
    feature_penalty_per: str = "appearance",
    tol: float | None = None,
) -> Outlook:
    r"""Tell of each class whether training will keep it, from the counts and the decays.

    Parameters
    ----------
    counts : str, (K,) array_like or ClassCounts
        Every way in which :func:`lopsided.read_counts` takes counts.
    lambda_z : float, optional
        Decay of the mean logits. Of a trained network it is :math:`\lambda_w\|W\|_F/\|H\|_F`.
    weight_decay, feature_decay : float, optional
        λ_w and λ_h, whose geometric mean is λ_z. With ``weight_decay`` alone λ_z is not known, since a network without
        a feature decay has one only implicitly: the outlook then gives for each class the feature decay, and the ratio
        of norms ‖W‖/‖H‖, from which on it is lost.
    end : str, optional
        How the network ends, beside a ``weight_decay`` that an optimiser has for all its parameters:
        ``"batch-norm"``, ``"batch-norm-relu"``, ``"residual:3"`` (three normalised branches added up) or ``"none"``.
        What it is worth as a feature decay follows: see :mod:`lopsided.core.ends`.
    network : Decays, optional
        What :func:`lopsided.nn.read_decays` reads off a network and its optimiser, in place of all decays.
    lambda_b : float, optional
        Decay of the bias: 0 by default, and the weight decay where an ``end`` is given, since optimisers decay it too.
    bias, loss, features
        As for :class:`lopsided.UFM`; ``features`` are the end's where one is given.
    margin : float, default √2
        A class whose threshold is less than this many times λ_z is *fading*.
    sampling_strategy : dict, str, float or callable, optional
        Check the counts after resampling to this, in imbalanced-learn's words: see
        :func:`lopsided.advice.target_counts`.
    feature_penalty_per : {"appearance", "sample"}, default "appearance"
        What the feature decay counts where samples are repeated: see :func:`lopsided.advice.resampled`.
    tol : float, optional
        Relative gap to which the optimum is certified: 1e-9 by default, and 1e-5 for more than 200 different classes.

    Returns
    -------
    Outlook
        ``states`` says of each class ``"kept"``, ``"fading"`` or ``"lost"``; ``assumptions`` what that rests on.

    Notes
    -----
    At a stationary point of the loss with decayed W, :math:`\lambda_w\|W\|_F^2=-\langle W,\nabla_W\rangle`, and with
    decayed H the same number is :math:`\lambda_h\|H\|_F^2`: a network that was trained without a feature decay, but
    acts as if it had one, has :math:`\lambda_z=\sqrt{\lambda_w\lambda_h}=\lambda_w\|W\|_F/\|H\|_F`, H the features of
    all N samples.

    Examples
    --------
    >>> import lopsided as lp
    >>> lp.check("500x5,100x5", 0.0035).lost
    [5, 6, 7, 8, 9]
    >>> known = lp.check("500x5,100x5", weight_decay=5e-4)          # and nothing on the features
    >>> known.states[0], known.critical_feature_decays[[0, 9]].round(4)
    ('unknown', array([0.1111, 0.0222]))
    >>> ordinary = lp.check("150x5,30x5", weight_decay=0.15, end="batch-norm")       # √(30/900) = .1826
    >>> ordinary.states[9], ordinary.critical_weight_decays[9].round(4)
    ('fading', np.float64(0.1826))
    """
    found = read_counts(counts)
    factor = checked_margin(margin)
    check_choice("feature_penalty_per", feature_penalty_per, FEATURE_PENALTY_PER)
    if network is not None:
        given = (lambda_z, weight_decay, feature_decay, end, lambda_b, sampling_strategy)
        if any(one is not None for one in given) or features != "any":
            raise ArgumentError(
                "network", "must be given without decays, `end`, `features` or a sampler: it has its own"
            )
        return check_network(found, network, factor, loss, tol)
    said: tuple[str, ...] = ()
    ending = None if end is None else read_end(end)
    if end is not None and (weight_decay is None or lambda_z is not None or feature_decay is not None):
        raise ArgumentError("end", "must stand beside `weight_decay` alone, from which it tells the other decays", end)
    if ending is not None and (features != "any" or feature_penalty_per != "appearance"):
        raise ArgumentError("end", "must be left out where `features` or `feature_penalty_per` are given", end)
    if lambda_b is None:
        lambda_b = 0.0 if ending is None or not bias else float(weight_decay or 0.0)
    if ending is not None:
        features = ending.features
    unknown = lambda_z is None and feature_decay is None and weight_decay is not None
    problem = problem_of(
        found,
        lambda_z,
        weight_decay=weight_decay,
        feature_decay=1.0 if unknown else feature_decay,  # plays no part then
        lambda_b=lambda_b,
        bias=bias,
        loss=loss,
        features=features,
    )
    if sampling_strategy is not None:
        targets = target_counts(found, sampling_strategy)
        problem = resampled(problem, targets, feature_penalty_per)
        said += (
            f"Classes are resampled to {targets.sum()} samples an epoch, features decayed once per"
            f" {feature_penalty_per}.",
        )
    if ending is not None:
        decay = ending.feature_decay(problem.lambda_w, problem.num_samples)
        stated = problem.replaced(lambda_w=problem.lambda_w, lambda_h=decay)
        return outlook_of_network(stated, ending, factor, found.names, said, tol)
    if not unknown:
        return outlook_of(problem, factor, found.names, said, tol=tol)
    assert weight_decay is not None
    limits = thresholds(problem)
    values, exact = class_thresholds(problem, limits)
    said += (
        "Whether a class is lost cannot be told from the weight decay alone: it depends on λ_h, the decay of the"
        " features, which a network without one has only implicitly, λ_h = λ_w ‖W‖²/‖H‖² once it is trained.",
    )
    return Outlook.without_solution(
        problem.counts,
        thresholds=values,
        exact=exact,
        complete=limits.complete,
        fading_margin=factor,
        names=found.names,
        weight_decay=float(weight_decay),
        assumptions=said + assumptions_of(problem, limits, exact),
    )


def problem_of(
    counts: ClassCounts,
    lambda_z: float | None,
    *,
    weight_decay: float | None,
    feature_decay: float | None,
    **settings: Any,
) -> UFM:
    """The problem of decays by the names of those who train, in errors too: ``weight_decay``, ``feature_decay``."""
    try:
        return UFM(counts.counts, lambda_z, lambda_w=weight_decay, lambda_h=feature_decay, **settings)
    except ArgumentError as error:
        raise error.renamed(lambda_w="weight_decay", lambda_h="feature_decay") from None
