"""Where the numbers live: NumPy's memory, or a device of PyTorch. The solver is written once, for both.

It uses what the array API standard (2024.12) has, by the names of ``array_api_compat``, and two things that NumPy and
PyTorch share beyond it: arithmetic in place, and the diagonal as a view.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat.numpy as numpy_namespace
import numpy as np
from numpy.typing import NDArray

from lopsided.core.arguments import ArgumentError
from lopsided.core.counts import is_tensor

#: A float64 array of whichever library holds the problem.
Array = Any


@dataclass(frozen=True)
class Backend:
    """A library of arrays, and the device that holds them (None for NumPy).

    ``decomposition_error`` is raised where a matrix cannot be decomposed: one that is not finite, above all.
    """

    xp: Any
    device: Any = None
    decomposition_error: type[Exception] = np.linalg.LinAlgError

    def array(self, host: NDArray[Any]) -> Array:
        """A NumPy array, moved here."""
        return host if self.device is None else self.xp.asarray(host, device=self.device)

    def host(self, array: Array) -> NDArray[Any]:
        """An array from here, as NumPy has it."""
        result: NDArray[Any] = array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
        return result


NUMPY = Backend(numpy_namespace)


def backend_on(device: str | None) -> Backend:
    """NumPy for None, else PyTorch on a device."""
    if device is None:
        return NUMPY
    try:
        import array_api_compat.torch as torch_namespace
        import torch
    except ImportError:
        raise ArgumentError(
            "device",
            "must be left out where PyTorch is not installed",
            device,
            remedy="install it with: pip install 'lopsided[measure]'",
        ) from None
    try:
        probe = torch.zeros(1, dtype=torch.float64, device=device)
        probe.item()  # a device without memory, such as "meta", holds no numbers
        found = probe.device
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            "device", "must be one of PyTorch's with float64, such as 'cpu' or 'cuda'", got=f"{device!r} ({reason})"
        ) from None
    return Backend(torch_namespace, found, torch.linalg.LinAlgError)  # type: ignore[attr-defined, unused-ignore]


def backend_of(array: Any) -> Backend:
    """Where an array lives: PyTorch's device for a tensor, NumPy for anything else."""
    return backend_on(str(array.device)) if is_tensor(array) else NUMPY


def diagonal(matrix: Array) -> Array:
    """A writable view of the diagonal."""
    view = matrix.diagonal()
    if isinstance(matrix, np.ndarray):
        view.flags.writeable = matrix.flags.writeable
    return view
