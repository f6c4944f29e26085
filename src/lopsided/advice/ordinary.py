"""Ordinary training: the outlook of a weight decay by the end of a network, given or read off it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from lopsided.advice.outlook import outlook_of
from lopsided.core.count_sources import ClassCounts
from lopsided.core.ends import End
from lopsided.core.losses import Loss
from lopsided.core.outlook import Outlook
from lopsided.core.problem import Problem

#: What no bound says by itself.
FREE = (
    "A class is lost at the latest where the model with free features loses it: so in every network tried whose"
    " layers all train. A frozen or very narrow body may keep classes past it, and features that are not free lose them"
    " earlier."
)


class ReadDecays(Protocol):
    """What :func:`lopsided.nn.read_decays` returns."""

    @property
    def lambda_w(self) -> float | None:
        """Decay of the classifier."""

    @property
    def lambda_h(self) -> float | None:
        """Decay of the features that is certain; None where nothing is known."""

    @property
    def features(self) -> str:
        """Whether they may have any sign."""

    @property
    def end(self) -> str:
        """The last things before the classifier."""

    @property
    def exact(self) -> bool:
        """Whether the feature decay is more than a bound."""

    @property
    def statement(self) -> str:
        """All of it in sentences."""

    def model(self, counts: Any, *, loss: Loss | None = None) -> Problem:
        """The model whose optimum bounds the network's objective."""


def outlook_of_network(
    problem: Problem,
    end: End,
    margin: float,
    names: tuple[str, ...] | None,
    said: tuple[str, ...],
    tol: float | None,
) -> Outlook:
    """The outlook of a network with this end; a bound says when a class is lost, never that it is kept."""
    outlook = outlook_of(problem, margin, names, (*said, end.statement, FREE), tol=tol)
    states = outlook.states
    if not end.exact:
        states = tuple("lost" if state == "lost" else "unknown" for state in states)
    return replace(outlook, states=states, weight_decay=problem.lambda_w, end=end)


def check_network(
    counts: ClassCounts, network: ReadDecays, margin: float, loss: Loss | None = None, tol: float | None = None
) -> Outlook:
    """The outlook of a network and its optimiser, as they were read; unknown where their decays do not tell."""
    end = End(network.end, network.features, 1, network.exact, network.statement)
    if network.lambda_w and network.lambda_h:
        return outlook_of_network(network.model(counts.counts, loss=loss), end, margin, counts.names, (), tol)
    return Outlook.without_solution(
        counts.counts, fading_margin=margin, names=counts.names, end=end, assumptions=(network.statement,)
    )
