"""What an argument may be: numbers, whole numbers, choices; and the error that says what it must be instead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

#: Most characters of a given value that an error quotes.
LONGEST_QUOTE = 80
_NOTHING: Any = object()


class ArgumentError(ValueError):
    """An argument breaks its rule; its message is one line, ``ARGUMENT RULE; got VALUE; REMEDY``.

    Parameters
    ----------
    argument : str
        Its name, as the function calls it.
    rule : str
        What it must be, beginning with a verb. Names of other arguments stand in backticks, so that whoever calls them
        by another name can say so: see :meth:`describe`.
    value : object, optional
        What was given.
    got : str, optional
        What was given, in words, where that says more than the value; backticks as in ``rule``.
    remedy : str, optional
        What to do about it; backticks as in ``rule``.

    Attributes
    ----------
    argument, rule, value, got, remedy
        As given; ``value`` is None where there is none.

    Examples
    --------
    >>> error = ArgumentError("lambda_z", "must equal the root of `lambda_w` * `lambda_h`", 2, remedy="leave one out")
    >>> print(error)
    lambda_z must equal the root of lambda_w * lambda_h; got 2; leave one out
    >>> print(error.renamed(lambda_w="weight_decay"))
    lambda_z must equal the root of weight_decay * lambda_h; got 2; leave one out
    """

    def __init__(
        self, argument: str, rule: str, value: Any = _NOTHING, *, got: str | None = None, remedy: str = ""
    ) -> None:
        self.argument, self.rule, self.remedy = argument, rule, remedy
        self._in_words = got is not None
        self.value = None if value is _NOTHING else value
        self.got = got if got is not None or value is _NOTHING else quoted(value)
        super().__init__(self.describe())

    def __reduce__(self) -> tuple[Callable[..., ArgumentError], tuple[Any, ...]]:
        return _rebuilt, (type(self), self.argument, self.rule, self.value, self.got, self._in_words, self.remedy)

    def describe(self, name: Callable[[str], str] = str) -> str:
        """The message, with arguments called by what ``name`` makes of their names."""
        said = [f"{name(self.argument)} {_with_names(self.rule, name)}"]
        if self.got is not None:
            said.append(f"got {_with_names(self.got, name) if self._in_words else self.got}")
        said += [_with_names(self.remedy, name)] if self.remedy else []
        return "; ".join(said)

    def renamed(self, names: Mapping[str, str] | None = None, **more: str) -> ArgumentError:
        """The same error of a function that calls its arguments by other names."""
        known = {**(names or {}), **more}

        def name(old: str) -> str:
            return f"`{known.get(old, old)}`"

        argument = known.get(self.argument, self.argument)
        rule, remedy = _with_names(self.rule, name), _with_names(self.remedy, name)
        got = _with_names(self.got, name) if self.got is not None and self._in_words else self.got
        return _rebuilt(type(self), argument, rule, self.value, got, self._in_words, remedy)


def _with_names(text: str, name: Callable[[str], str]) -> str:
    return re.sub(r"`([^`]+)`", lambda found: name(found[1]), text)


def _rebuilt(
    kind: type[ArgumentError], argument: str, rule: str, value: Any, got: str | None, in_words: bool, remedy: str
) -> ArgumentError:
    error = kind(argument, rule, got=got, remedy=remedy)
    error.value, error._in_words = value, in_words
    error.args = (error.describe(),)
    return error


def quoted(value: object) -> str:
    """A value as an error quotes it: its ``repr``, on one line, cut short.

    Examples
    --------
    >>> quoted("a" * 200)[-5:], len(quoted("a" * 200))
    ('aaa …', 80)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 2] + " …"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite real number, Python's or NumPy's; True and False are none.

    Examples
    --------
    >>> is_number(2), is_number(np.float32(0.5)), is_number(float("nan")), is_number(True), is_number("2")
    (True, True, False, False, False)
    """
    known = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    return known and math.isfinite(value)  # type: ignore[arg-type]


def check_number(
    name: str,
    value: object,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
    most: float | None = None,
    note: str = "",
) -> None:
    """Refuse what is not a finite number between bounds; ``above`` and ``below`` are not allowed themselves.

    An upper bound goes with a lower one, and ``note`` is added to the rule.

    Examples
    --------
    >>> check_number("momentum", 1, least=0, below=1)
    Traceback (most recent call last):
    lopsided.core.arguments.ArgumentError: momentum must be a finite number in [0, 1); got 1
    >>> check_number("lambda_b", -1, least=0, note=" (0: a free bias)")
    Traceback (most recent call last):
    lopsided.core.arguments.ArgumentError: lambda_b must be a finite number of at least 0 (0: a free bias); got -1
    """
    holds = (
        is_number(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (below is None or value < below)
        and (most is None or value <= most)
    )
    if holds:
        return
    lower = f"[{least:g}" if least is not None else f"({above:g}" if above is not None else None
    upper = f"{below:g})" if below is not None else f"{most:g}]" if most is not None else None
    if upper is not None:
        rule = f" in {lower}, {upper}"
    elif lower is not None:
        rule = f" {'above' if least is None else 'of at least'} {lower[1:]}"
    else:
        rule = ""
    raise ArgumentError(name, f"must be a finite number{rule}{note}", value)


def check_whole(name: str, value: object, *, least: int = 1, optional: bool = False) -> None:
    """Refuse what is no ``int`` of at least ``least``; None passes where it is ``optional``.

    NumPy's whole numbers are refused, since arguments are stored (in checkpoints, in JSON) as they are given.

    Examples
    --------
    >>> check_whole("epochs", 1.5)
    Traceback (most recent call last):
    lopsided.core.arguments.ArgumentError: epochs must be a whole number of at least 1; got 1.5
    """
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ArgumentError(name, f"must be a whole number of at least {least}", value)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Refuse what is none of the choices, of which there are two at least.

    Examples
    --------
    >>> check_choice("on_merge", "raise", ("warn", "stop", "ignore"))
    Traceback (most recent call last):
    lopsided.core.arguments.ArgumentError: on_merge must be 'warn', 'stop' or 'ignore'; got 'raise'
    """
    if value not in choices:
        *others, last = map(repr, choices)
        raise ArgumentError(name, f"must be {', '.join(others)} or {last}", value)
