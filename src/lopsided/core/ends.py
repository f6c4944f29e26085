r"""How a network ends, and what its weight decay amounts to: ordinary training as the unconstrained feature model.

In training mode a batch normalisation gives channel j the values :math:`\gamma_j\hat x+\beta_j`, where
:math:`\hat x` has mean 0 and mean square 1, so that :math:`\sum_nh_{nj}^2=N(\gamma_j^2+\beta_j^2)`: a decay λ_s of
scale and shift costs :math:`\frac{\lambda_s}{2N}\|H\|^2`. The decay of the weights before it costs nothing, since
they may shrink without changing anything. Behind a ReLU zeros cost nothing, and the same holds with H ≥ 0. A sum of C
such branches costs at least 1/C of that. So λ_h = λ_s/(N C), and with one decay λ for all parameters λ_z = λ/√(N C).
"""

from __future__ import annotations

from dataclasses import dataclass

from lopsided.core.arguments import ArgumentError

#: The ends that stand for all where none is named.
USUAL = ("batch-norm", "batch-norm-relu", "residual:3")
#: What :func:`read_end` understands.
FORMS = "batch-norm, batch-norm-relu, residual:BRANCHES (such as residual:3) or none"


@dataclass(frozen=True)
class End:
    """The last things before a network's head.

    Attributes
    ----------
    name : str
        As it is written.
    features : {"any", "relu"}
        Whether features may have any sign.
    branches : int
        C, the normalised branches that are added up.
    exact : bool
        Whether the feature decay is that wherever the layers before can make any normalised features; a lower bound
        otherwise.
    statement : str
        The same in a sentence.
    """

    name: str
    features: str
    branches: int
    exact: bool
    statement: str

    def feature_decay(self, norm_decay: float, num_samples: int) -> float:
        """λ_h, for a decay of the last normalisation's scale and shift.

        Examples
        --------
        >>> read_end("batch-norm").feature_decay(5e-4, 1000)
        5e-07
        """
        return norm_decay / (num_samples * self.branches)


def read_end(text: str) -> End | None:
    """An end as it is written; None for ``"none"``, a network whose features no normalisation scales.

    Raises
    ------
    ArgumentError
        If it is none of the forms.

    Examples
    --------
    >>> read_end("residual:3").branches, read_end("none")
    (3, None)
    """
    kind, _, number = text.strip().partition(":")
    if kind == "none" and not number:
        return None
    if kind in ("batch-norm", "batch-norm-relu") and not number:
        relu = kind == "batch-norm-relu"
        behind = ", then a ReLU" if relu else ""
        return End(
            kind,
            "relu" if relu else "any",
            1,
            True,
            f"The network ends in a batch normalisation{behind}, whose scale and shift are decayed like its head:"
            " λ_h is that decay over the number of samples; the decay of the weights before it does not matter.",
        )
    if kind == "residual" and number.isdigit() and int(number) >= 1:
        return End(
            f"residual:{int(number)}",
            "any",
            int(number),
            False,
            f"The network ends in a sum of {int(number)} normalised branches: λ_h is at least the decay of their scales"
            " and shifts over that number and the number of samples. So it says at which decay a class is lost at the"
            " latest, and not that it is kept before.",
        )
    raise ArgumentError("end", f"must be {FORMS}", text)
