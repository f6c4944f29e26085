"""What the settings of a run may be: each kind of value in words, as a rule, and from the text of an option."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from lopsided.core.arguments import is_number
from lopsided.core.counts import format_counts, parse_counts, parse_terms
from lopsided.core.losses import SETTINGS

#: Seeds are below this, which every generator takes.
SEEDS = 2**32


@dataclass(frozen=True)
class SettingType:
    """What a value must be: in words, from a file, and from the text of an option."""

    words: str
    holds: Callable[[Any], bool]
    from_text: Callable[[str], Any] = str
    tidy: Callable[[Any], Any] = lambda value: value


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def _read(text: str, kind: Callable[[str], Any]) -> Any:
    """A number, or the text itself, which the rule then names."""
    try:
        return kind(text)
    except ValueError:
        return text


_number, _whole = partial(_read, kind=float), partial(_read, kind=int)


def above(low: float) -> SettingType:
    """A number above a bound."""
    words = f"a finite number above {low:g}"
    return SettingType(words, lambda value: is_number(value) and value > low, _number, float)


def whole_from(low: int) -> SettingType:
    """A whole number from a bound on."""
    return SettingType(
        f"a whole number of at least {low}", lambda value: is_whole(value) and low <= value < SEEDS, _whole, int
    )


def between(words: str, holds: Callable[[float], bool]) -> SettingType:
    """A number in an interval."""
    return SettingType(f"a number in {words}", lambda value: is_number(value) and holds(value), _number, float)


def one_of(*names: str) -> SettingType:
    """One of some words."""
    return SettingType(f"one of: {', '.join(names)}", lambda value: isinstance(value, str) and value in names)


TEXT = SettingType("a name", lambda value: isinstance(value, str) and bool(value.strip()))
FLAG = SettingType(
    "true or false",
    lambda value: isinstance(value, bool),
    lambda text: {"true": True, "false": False}.get(text.lower(), text),
)
WIDTHS = SettingType(
    "a list of whole numbers of at least 1, such as [128, 128]",
    lambda value: isinstance(value, (list, tuple)) and all(is_whole(width) and width > 0 for width in value),
    lambda text: [_whole(part.strip("[] ")) for part in text.split(",") if part.strip("[] ")],
    tuple,
)
COUNTS = SettingType(
    "counts such as '150x5,30x5'",
    lambda value: isinstance(value, (str, list, tuple)),
    tidy=lambda value: format_counts(parse_counts(value)),
)
STRATEGY = SettingType(
    "a word such as 'all', counts such as '150x10', CLASS:SAMPLES terms or a share",
    lambda value: isinstance(value, (str, list, tuple)) or is_number(value),
    tidy=lambda value: format_counts(value) if isinstance(value, (list, tuple)) else str(value),
)
GROUPS = SettingType(
    "groups of at least two classes by number, none twice, such as [[5, 6], [7, 8, 9]]",
    lambda value: (
        isinstance(value, (list, tuple))
        and all(isinstance(group, (list, tuple)) and len(group) > 1 and all(map(is_whole, group)) for group in value)
        and len({index for group in value for index in group}) == sum(map(len, value))
    ),
    lambda text: [[_whole(part.strip()) for part in group.split(",")] for group in text.split(";")],
    lambda value: tuple(tuple(sorted(group)) for group in value),
)
NUMBER = SettingType("a finite number", is_number, _number, float)


def setting(type: SettingType, help: str, default: Any = dataclasses.MISSING) -> Any:
    """A field with its type and what it is for."""
    return field(default=default, metadata={"type": type, "help": help})


def loss_setting(name: str) -> Any:
    """A field for a setting of the loss, as :data:`lopsided.core.losses.SETTINGS` has it; not stated by default."""
    stated = SETTINGS[name]
    kinds = {"number": NUMBER, "numbers": _per_class(name), "word": TEXT}
    return setting(kinds[stated.kind], f"Of the loss: {stated.help}", None)


def _per_class(name: str) -> SettingType:
    words = "one number a class, such as '1x5,5x5'"
    return SettingType(
        words,
        lambda value: isinstance(value, str) or (isinstance(value, (list, tuple)) and all(map(is_number, value))),
        tidy=lambda value: tuple(map(float, parse_terms(value, name, words) if isinstance(value, str) else value)),
    )
