"""What a user names as MODULE:FACTORY: code of their own that is imported and called."""

from __future__ import annotations

import importlib
import os
import re
import sys
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


def load_factory(text: str, argument: str) -> Callable[..., Any]:
    """Import what MODULE:FACTORY names; the current folder is searched, too, and first.

    Errors begin with ``argument``; what fails inside the module is raised as it is.

    Examples
    --------
    >>> load_factory("math:hypot", "network")(3, 4)
    5.0
    """
    if not is_factory(text):
        raise ArgumentError(argument, "must be MODULE:FACTORY, such as my_project.models:resnet", text)
    module_name, _, path = text.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name != missing and not module_name.startswith(f"{missing}."):
            raise  # the user's module is there, and misses one of its own
        raise ArgumentError(
            argument,
            "must be MODULE:FACTORY with a module that Python finds",
            remedy=f"there is no {missing!r}; install it, or put its folder on PYTHONPATH",
        ) from None
    for attribute in path.split("."):
        if not hasattr(found, attribute):
            reason = f"the module {module_name!r} has no {path!r}"
            raise ArgumentError(argument, "must be MODULE:FACTORY", remedy=reason)
        found = getattr(found, attribute)
    if not callable(found):
        reason = f"{text!r} is of type {type(found).__name__}"
        raise ArgumentError(argument, "must be MODULE:FACTORY with a function or a class", remedy=reason)
    return found  # type: ignore[no-any-return]
