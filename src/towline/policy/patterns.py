"""Regular expressions of the `name` and `id` filters: unanchored, as Docker's, which run in linear time (RE2).

Python's engine backtracks, so what could make it run for long is refused: the caller asks for something simpler.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from itertools import pairwise

from towline.model.errors import InvalidParameter

LONGEST_PATTERN = 1024
LONGEST_SUBJECT = 256
MOST_REPETITIONS = 2
MOST_CHOICES = 8

Matcher = Callable[[str], bool]

_SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
_PARTS = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[=!<]|[*+]|\{\d*,?\d*\}|\?|\)|.", re.DOTALL)
_NOT_RE2 = re.compile(r"\(\?[=!<]|\\\d")
_REPETITION = re.compile(r"[*+]|\{.+")


def matcher(pattern: str) -> Matcher:
    """Whether the pattern is found in a text.

    What RE2 does not know matches nothing, as in Docker; so do classes that Python may come to read otherwise (POSIX
    classes, "--" and "&&" in brackets).
    InvalidParameter if it could take long: a repeated group, more than two repetitions, more than eight optional
    parts, more than eight alternatives in several groups, more than 1,024 characters.
    Texts longer than 256 characters are only searched for plain words.
    """
    if not _SPECIAL.search(pattern):
        return lambda text: pattern in text
    parts = _PARTS.findall(pattern) if len(pattern) <= LONGEST_PATTERN else None
    if parts is None or _is_slow(parts):
        raise InvalidParameter(f"invalid filter: pattern too complex: {pattern[:64]}")
    if any(_NOT_RE2.fullmatch(part) for part in parts):
        return _never
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            compiled = re.compile(pattern.replace(r"\z", r"\Z"), re.ASCII)
    except (re.error, OverflowError, RecursionError, FutureWarning):
        return _never
    return lambda text: len(text) <= LONGEST_SUBJECT and compiled.search(text) is not None


def _is_slow(parts: list[str]) -> bool:
    repeated = [index for index, part in enumerate(parts) if _REPETITION.fullmatch(part)]
    optional = sum(part == "?" and before != "(" for before, part in pairwise(parts))
    return (
        len(repeated) > MOST_REPETITIONS
        or any(parts[index - 1] == ")" for index in repeated if index)
        or optional > MOST_CHOICES
        or (parts.count("(") > 1 and parts.count("|") > MOST_CHOICES)
    )


def _never(_text: str) -> bool:
    return False
