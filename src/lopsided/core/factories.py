"""What a user names as MODULE:FACTORY: code of their own that is imported and called."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from lopsided.core.arguments import ArgumentError

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def is_factory(text: str) -> bool:
    """Whether text has the form MODULE:FACTORY.

    Examples
    --------
    >>> is_factory("my_package.data:birds"), is_factory("digits")
    (True, False)
    """
    return _FORM.fullmatch(text) is not None


def import_factory(text: str, name: str) -> Callable[..., Any]:
    """Import what MODULE:FACTORY names.

    Parameters
    ----------
    text : str
        The module as ``import`` takes it, a colon, and the name of a function or a class in it.
    name : str
        The argument, with which errors begin.

    Raises
    ------
    ValueError
        If the module cannot be found, or has no such callable. What fails inside the module is raised as it is.

    Examples
    --------
    >>> import_factory("math:hypot", "network")(3, 4)
    5.0
    """
    module_name, _, path = text.partition(":")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise  # the user's module is there, and misses one of its own
        raise ArgumentError(
            name,
            "must be MODULE:FACTORY with a module that Python finds",
            remedy=f"there is no {missing!r}; install it, or put its folder on PYTHONPATH",
        ) from None
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            raise ArgumentError(name, "must be MODULE:FACTORY", remedy=f"the module {module_name!r} has no {path!r}")
        found = getattr(found, attribute)
    if not callable(found):
        raise ArgumentError(
            name, "must be MODULE:FACTORY with a function or a class", remedy=f"{text!r} is a {type(found).__name__}"
        )
    return found  # type: ignore[no-any-return]
