"""How numbers, groups of classes and outcomes are put into words, once for tables, figures and pages."""

from __future__ import annotations

import math

from lopsided.core.geometry import Geometry
from lopsided.core.outlook import Outlook
from lopsided.runs.record import Run

#: What a quantity of a comparison is called, and its unit (none for cosines).
QUANTITIES = {
    "mean_logits": ("mean logits", "nats"),
    "bias": ("bias", "nats"),
    "gram_means": ("Gram of means", "feature²"),
    "gram_classifier": ("Gram of classifier", "weight²"),
    "cosines_means": ("cosines of means", ""),
    "cosines_classifier": ("cosines of classifier", ""),
}

#: What the conventions of NC1 are called, by their names in :mod:`lopsided.metrics`.
NC1 = {"nc1_rank_aware": "NC1, rank-aware", "nc1": "NC1, the paper's"}


def number(value: float | None, digits: int = 4) -> str:
    """Write a number to a few significant digits; a dash where there is none.

    Examples
    --------
    >>> number(0.0300004), number(None), number(3)
    ('0.03', '–', '3')
    """
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}g}".replace("-", "−")


def error(relative: float | None, absolute: float | None, unit: str) -> str:
    """Write a relative error in percent or, where the prediction is zero, the absolute error with its unit.

    Examples
    --------
    >>> error(0.0312, 0.1, "nats"), error(None, 0.0021, "nats"), error(None, None, "")
    ('3.12 %', '0.0021 nats off', 'undefined')
    """
    if relative is not None and math.isfinite(relative):
        return f"{number(100 * relative, 3)} %"
    if absolute is not None and math.isfinite(absolute):
        return f"{number(absolute, 2)} {unit} off".replace("  ", " ")
    return "undefined"


def class_names(run: Run) -> list[str]:
    """Find the names of the classes: the run's own, their indices otherwise.

    Examples
    --------
    >>> import lopsided as lp
    >>> g = lp.Geometry([3, 2], [[1.0], [-1.0]], [[1.0], [-1.0]])
    >>> class_names(Run("r", {"class_names": ["cat", "dog"]}, g, g)), class_names(Run("r", {}, g, g))
    (['cat', 'dog'], ['0', '1'])
    """
    names = run.settings.get("class_names")
    total = run.predicted.num_classes
    if isinstance(names, list) and len(names) == total:
        return [str(name) for name in names]
    return [str(index) for index in range(total)]


def outcome(run: Run) -> str:
    """Say what became of the classes of a run, in one clause.

    Examples
    --------
    >>> import lopsided as lp
    >>> g = lp.Geometry([3, 2], [[1.0], [-1.0]], [[1.0], [-1.0]])
    >>> outcome(Run("r", {}, g, g))
    'no class is lost, as predicted'
    """
    found, expected = state(run, run.measured), state(run, run.predicted)
    return f"{found}, as predicted" if run.comparison.same_merged else f"{found}, but the prediction is: {expected}"


def state(run: Run, geometry: Geometry) -> str:
    """What has become of the classes in a geometry of a run, in the words of its outlook."""
    return Outlook.measured(geometry, tuple(class_names(run))).summary


def decay(run: Run) -> str:
    """Label a run by its decay, or by its name where the settings hold none.

    Examples
    --------
    >>> import lopsided as lp
    >>> g = lp.Geometry([3, 2], [[1.0], [-1.0]], [[1.0], [-1.0]])
    >>> decay(Run("r", {"lambda_z": 0.01}, g, g)), decay(Run("r", {}, g, g))
    ('λ_z = 0.01', 'r')
    """
    value = run.settings.get("lambda_z")
    return run.name if value is None else f"λ_z = {number(value)}"


def certificate(run: Run) -> str:
    """Say how sure the prediction is, in one sentence; nothing where no certificate is stored.

    Examples
    --------
    >>> import lopsided as lp
    >>> g = lp.Geometry([3, 2], [[1.0], [-1.0]], [[1.0], [-1.0]])
    >>> certificate(Run("r", {}, g, g, {"objective": 0.5, "gap": 1e-12, "status": "optimal"}))
    'The prediction has objective 0.5, certified to be within 1e−12 of the optimum (optimal).'
    """
    if not {"objective", "gap", "status"} <= run.certificate.keys():
        return ""
    objective, gap, status = (run.certificate[name] for name in ("objective", "gap", "status"))
    return (
        f"The prediction has objective {number(objective, 6)}, certified to be within {number(gap, 2)} of the optimum "
        f"({status})."
    )
