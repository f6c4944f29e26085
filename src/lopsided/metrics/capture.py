"""What enters a classifier's last layer, recorded as the model runs, whatever else the model does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lopsided.core.arguments import ArgumentError
from lopsided.nn.classifier import classifier_candidates

#: Makes (B, d) rows of what enters the classifier, such as ``lambda h: h[:, 0]``.
Reducer: TypeAlias = Callable[[Tensor], Tensor]


class FeatureCapture:
    """Records the input features of a model's classifier, by a forward-pre-hook.

    The classifier is found by itself: the ``nn.Linear`` with ``num_classes`` outputs that runs in a forward pass. Of
    several that run it is the one that all others lead to, such as the head above hidden layers as wide as it; the
    first pass must then keep its graph. Two heads side by side are for the caller to choose from.

    Features are kept without their graph, in their own dtype, and not copied: use them before anything changes them
    in place. ``torch.compile`` runs a compiled model without hooks that come after compiling; such a model is refused
    at :meth:`take`, since its classifier is not seen to run.

    Parameters
    ----------
    model : torch.nn.Module
        Bare or inside DistributedDataParallel, DataParallel on one device, or ``torch.compile``.
    num_classes : int
        Number of classes K.
    classifier : str or torch.nn.Module, optional
        The last layer or its name in the model, ``"head.fc"``, without what wrappers add to it. Any module with a
        weight of K rows will do.
    reduce : callable, optional
        Makes (B, d) features of an input that has another shape, such as the (B, T, d) of a head on sequences.
    call : int, optional
        Which call counts where a pass calls the classifier several times: 0 is the first, -1 the last.

    Raises
    ------
    ValueError
        If no module can be the classifier; the message names what there is.

    Examples
    --------
    >>> import torch
    >>> from lopsided.metrics import FeatureCapture, NeuralCollapse
    >>> model = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), torch.nn.Linear(4, 3))
    >>> metric = NeuralCollapse(num_classes=3, dim=4, classifier=model[2])
    >>> with FeatureCapture(model, num_classes=3) as capture:
    ...     for _ in range(5):
    ...         logits = model(torch.randn(8, 6))
    ...         metric.update(capture.take(), torch.randint(3, (8,)))
    >>> capture.name, metric.compute()["num_samples"]
    ('2', 40)
    """

    def __init__(
        self,
        model: nn.Module,
        num_classes: int,
        *,
        classifier: str | nn.Module | None = None,
        reduce: Reducer | None = None,
        call: int | None = None,
    ) -> None:
        check_call(call)
        self.enabled = True
        self._reduce, self._call, self._num_classes = reduce, call, num_classes
        self._candidates = classifier_candidates(model, num_classes, classifier)
        self._handles: list[RemovableHandle] = []
        self.discard()

    def attach(self) -> FeatureCapture:
        """Start recording; what ``with`` does."""
        if not self._handles:
            for module in self._candidates.values():
                self._handles.append(module.register_forward_pre_hook(self._before, with_kwargs=True))
                if len(self._candidates) > 1:
                    self._handles.append(module.register_forward_hook(self._after))
        return self

    def detach(self) -> None:
        """Stop recording, and leave the model without a trace of it."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.discard()

    def __enter__(self) -> FeatureCapture:
        return self.attach()

    def __exit__(self, *exception: object) -> None:
        self.detach()

    @property
    def name(self) -> str | None:
        """Name of the classifier in the model, or ``None`` until a pass has shown which of several it is."""
        return next(iter(self._candidates)) if len(self._candidates) == 1 else None

    @property
    def classifier(self) -> nn.Module | None:
        """The classifier, or ``None`` as for ``name``."""
        return None if self.name is None else self._candidates[self.name]

    def discard(self) -> None:
        """Forget what was recorded since the last pass, so that the next call counts as the first."""
        self._inputs: dict[nn.Module, Tensor] = {}
        self._outputs: dict[nn.Module, Tensor] = {}
        self._calls: dict[nn.Module, int] = {}

    def take(self) -> Tensor:
        """Return the features (B, d) of the pass that has just run, and be ready for the next.

        They are without graph, of the dtype and on the device on which the classifier was given them.

        Raises
        ------
        ValueError
            If the classifier did not run, ran more than once without ``call`` being given, or its input is not (B, d);
            if it cannot be told which of several modules is the classifier. Nothing of the pass is kept then either.
        """
        try:
            self._resolve()
            (name, module), calls = next(iter(self._candidates.items())), sum(self._calls.values())
            if not calls:
                remedy = f"{name!r} was not seen to; attach before torch.compile, or name the module that runs"
                raise ArgumentError("classifier", "must run in the forward pass", remedy=remedy)
            if self._call is None and calls > 1:
                raise ArgumentError(
                    "call",
                    "must say which call counts where the classifier runs several times a pass",
                    remedy=f"{name!r} ran {calls} times; give call=0 to call={calls - 1}, or -1 for the last",
                )
            if module not in self._inputs:
                raise ArgumentError("call", f"must be below the {calls} calls of {name!r} in this pass", self._call)
            features = self._inputs[module]
        finally:
            self.discard()
        if self._reduce is not None:
            features = self._reduce(features)
        if features.ndim != 2:
            origin = "from reduce" if self._reduce is not None else f"at {name!r}"
            raise ArgumentError(
                "features",
                "must have shape (B, d), one row a sample",
                got=f"{tuple(features.shape)} {origin}",
                remedy="give reduce=, a function that makes rows of them, such as lambda h: h[:, 0]",
            )
        return features

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.enabled:
            return
        index = self._calls.get(module, 0)
        self._calls[module] = index + 1
        if self._call in (None, -1, index):
            entering = args[0] if args else next(iter(kwargs.values()))
            # The graph is needed once, to see which of several modules the others lead to.
            self._inputs[module] = entering.detach() if len(self._candidates) == 1 else entering

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        if self.enabled and len(self._candidates) > 1:
            self._outputs[module] = output

    def _resolve(self) -> None:
        """Choose among the candidates by what ran in this pass."""
        if len(self._candidates) == 1:
            return
        ran = {name: module for name, module in self._candidates.items() if module in self._inputs}
        names = ", ".join(repr(name) for name in (ran or self._candidates))
        if not ran:
            raise ArgumentError(
                "classifier", "must run in the forward pass", remedy=f"none of {names} did; name the module that runs"
            )
        last = {
            name: module
            for name, module in ran.items()
            if all(_leads_to(self._outputs[other], self._inputs[module]) for other in ran.values() if other != module)
        }
        if len(last) != 1:
            raise ArgumentError(
                "classifier",
                f"must be named where several layers with {self._num_classes} outputs run and not all lead to one, or"
                " where the graph is not kept",
                got=names,
                remedy="give `classifier`",
            )
        ((name, module),) = last.items()
        self._inputs = {module: self._inputs[module].detach()}
        self._calls = {module: self._calls[module]}
        for handle in self._handles:
            handle.remove()
        self._candidates = {name: module}
        self._handles = [module.register_forward_pre_hook(self._before, with_kwargs=True)]


def check_call(call: int | None) -> None:
    """Refuse what cannot be the number of a call."""
    if call is not None and (not isinstance(call, int) or isinstance(call, bool) or call < -1):
        raise ArgumentError("call", "must be 0 for the first call, 1 for the second …, or -1 for the last", call)


def _leads_to(source: Tensor, target: Tensor) -> bool:
    """Whether the graph of ``target`` contains what made ``source``."""
    if source.grad_fn is None:
        return False
    pending: list[Any] = [target.grad_fn]
    seen: set[Any] = set()
    while pending:
        node = pending.pop()
        if node is source.grad_fn:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            pending.extend(parent for parent, _ in node.next_functions)
    return False
