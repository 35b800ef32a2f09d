"""The command line of `towlined`: pflag's syntax, as dockerd has it.

`--flag value`, `--flag=value`, `-f value`, `-fvalue`, `-f=value`; a boolean takes a value only with `=`, and short
booleans may be bundled (`-Dl debug`). A flag that is not repeatable keeps its last value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

import msgspec

from towline.daemon import options
from towline.daemon.options import Option
from towline.daemon.settings import Setting, Settings, collect
from towline.daemon.values import parse_bool, parse_path
from towline.model.errors import ConfigError

DEFAULT_CONFIG_FILE = "/etc/towline/daemon.json"
Action = Literal["run", "validate", "version", "help"]
_ACTIONS: tuple[Action, ...] = ("help", "version", "validate")
T = TypeVar("T")


class UsageError(ConfigError):
    """The command line itself is wrong."""


class Flags(msgspec.Struct, frozen=True):
    """settings: by configuration key. config_file: "" if not given."""

    action: Action
    config_file: str
    settings: Settings


def parse_flags(argv: list[str]) -> Flags:
    """argv without the program's name. Raises UsageError naming flag, value and what would be right."""
    given: dict[str, list[str]] = {}
    for flag, value in _split(argv):
        given.setdefault(flag, []).append(value)
    action: Action = next((name for name in _ACTIONS if _said(given, name)), "run")
    config_file = given.get("config-file", [""])[-1]
    if action in ("help", "version"):
        return Flags(action, config_file, {})
    settings = {o.key: _setting(o, given[o.flag]) for o in options.OPTIONS if o.flag in given}
    return Flags(action, _checked("config-file", config_file, parse_path) if config_file else "", settings)


def _said(given: dict[str, list[str]], name: str) -> bool:
    return name in given and _checked(name, given[name][-1], parse_bool)


def _setting(option: Option, texts: list[str]) -> Setting:
    parsed = [_checked(option.flag, text, option.parse) for text in texts]
    shown = f"[{' '.join(texts)}]" if option.kind in ("list", "pools", "network-opts") else texts[-1]
    return collect(option, parsed, f"flag --{option.flag}", shown)


def _checked(flag: str, text: str, parse: Callable[[str], T]) -> T:
    try:
        return parse(text)
    except ValueError as error:
        short = options.SHORT_OF.get(flag)
        name = f"-{short}, --{flag}" if short else f"--{flag}"
        raise UsageError(f'invalid argument "{text}" for "{name}" flag: {error}') from None


def _split(argv: list[str]) -> Iterator[tuple[str, str]]:
    """(long name, value as text) in order; "true" for a boolean without a value."""
    words = iter(argv)
    for word in words:
        if word == "--" or not word.startswith("-") or word == "-":
            extra = next(words, "") if word == "--" else word
            if extra:
                raise UsageError(f'"towlined" accepts no arguments, and got {extra!r}')
        elif word.startswith("--"):
            yield _long(word[2:], words)
        else:
            yield from _shorts(word[1:], words)


def _long(text: str, words: Iterator[str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if name not in options.METAVARS:
        raise UsageError(f"unknown flag: --{name}{options.suggestion(name, options.METAVARS, '--')}")
    if equals:
        return name, value
    return name, _argument(f"--{name}", name, words)


def _shorts(text: str, words: Iterator[str]) -> Iterator[tuple[str, str]]:
    while text:
        letter, text = text[0], text[1:]
        name = options.SHORTS.get(letter)
        if name is None:
            raise UsageError(f"unknown shorthand flag: {letter!r} in -{letter}{text}")
        if text.startswith("=") or (text and options.METAVARS[name]):
            yield name, text.removeprefix("=")
            return
        yield name, _argument(f"-{letter}", name, words)


def _argument(shown: str, name: str, words: Iterator[str]) -> str:
    if not options.METAVARS[name]:
        return "true"
    value = next(words, None)
    if value is None:
        raise UsageError(f"flag needs an argument: {shown} {options.METAVARS[name]}")
    return value
