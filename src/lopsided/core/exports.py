"""Names of a package that are imported when they are first used, since their modules are heavy."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazy_exports(package: str, **modules: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names are loaded on first use.

    ``package`` is its ``__name__``; each keyword is a module below it (``__`` stands for a dot) with the names to be
    found there, blanks between. Type checkers want the same imports once more under ``TYPE_CHECKING``.

    Examples
    --------
    >>> getattr_, dir_, names = lazy_exports("lopsided.core", counts="parse_counts format_counts")
    >>> names, getattr_("parse_counts")("3,2").tolist()
    (['format_counts', 'parse_counts'], [3, 2])
    """
    home = {name: f"{package}.{module}" for module, names in modules.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home[name]), name)

    names = sorted(home)
    return load, lambda: names, names
