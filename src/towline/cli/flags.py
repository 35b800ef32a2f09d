"""The flag parser: Docker's conventions (flags and names mix, -abc, --flag=value, --), and errors that help."""

from __future__ import annotations

from towline.cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    Kind = Literal["switch", "text", "list"]

_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})


class Flag:
    """One flag of a command.

    kind: switch (on, off or not given), text (the last one counts), list (repeatable). commas: a list's value may hold
    several, separated by commas. meta: the value's name in help. choices: values that completion offers.
    """

    __slots__ = ("choices", "commas", "kind", "long", "meta", "short", "text")

    def __init__(
        self,
        long: str,
        text: str,
        kind: Kind = "switch",
        short: str = "",
        meta: str = "",
        commas: bool = False,
        choices: Sequence[str] = (),
    ) -> None:
        self.long = long
        self.text = text
        self.kind = kind
        self.short = short
        self.meta = meta
        self.commas = commas
        self.choices = choices


class Parsed:
    """What a command line says. Reading a flag that was not given answers False, "" or []."""

    def __init__(self) -> None:
        self.operands: list[str] = []
        self._values: dict[str, list[str]] = {}

    def given(self, name: str) -> bool:
        return name in self._values

    def on(self, name: str) -> bool:
        return self._values.get(name, ["false"])[-1] in _TRUE

    def text(self, name: str) -> str:
        return self._values.get(name, [""])[-1]

    def items(self, name: str) -> list[str]:
        return self._values.get(name, [])

    def pairs(self, name: str) -> dict[str, str]:
        """A list of KEY=VALUE as a dict; Docker takes a bare KEY as KEY= ."""
        found: dict[str, str] = {}
        for item in self.items(name):
            key, _, value = item.partition("=")
            found[key] = value
        return found

    def add(self, flag: Flag, value: str) -> None:
        values = self._values.setdefault(flag.long, [])
        values.extend(value.split(",") if flag.commas else [value])


def parse(tokens: Sequence[str], flags: Sequence[Flag], command: str, into: Parsed, *, lead: bool = False) -> int:
    """Read `tokens` into `into`; answer how many were read.

    lead: stop at the first word that is no flag (global flags before the command). command: its name for messages.
    Raises UsageError.
    """
    by_name = {f"--{flag.long}": flag for flag in flags}
    by_name.update({f"-{flag.short}": flag for flag in flags if flag.short})
    position = 0
    while position < len(tokens):
        word = tokens[position]
        position += 1
        if word == "--":
            if lead:
                return position
            into.operands.extend(tokens[position:])
            return len(tokens)
        if word.startswith("--"):
            position += _long(word, tokens[position:], by_name, command, into)
        elif word.startswith("-") and word != "-":
            position += _shorts(word, tokens[position:], by_name, command, into)
        elif lead:
            return position - 1
        else:
            into.operands.append(word)
    return position


def _long(word: str, after: Sequence[str], by_name: dict[str, Flag], command: str, into: Parsed) -> int:
    name, equals, value = word.partition("=")
    flag = by_name.get(name)
    if flag is None:
        raise _unknown(name, by_name, command)
    if equals or flag.kind == "switch":
        into.add(flag, _checked(flag, name, value if equals else "true", command))
        return 0
    into.add(flag, _following(name, after, command))
    return 1


def _shorts(word: str, after: Sequence[str], by_name: dict[str, Flag], command: str, into: Parsed) -> int:
    for index in range(1, len(word)):
        name, rest = f"-{word[index]}", word[index + 1 :]
        flag = by_name.get(name)
        if flag is None:
            raise _unknown(word if index == 1 else name, by_name, command)
        if rest.startswith("="):
            into.add(flag, _checked(flag, name, rest[1:], command))
            return 0
        if flag.kind == "switch":
            into.add(flag, "true")
        elif rest:
            into.add(flag, rest)
            return 0
        else:
            into.add(flag, _following(name, after, command))
            return 1
    return 0


def _following(name: str, after: Sequence[str], command: str) -> str:
    if not after:
        raise usage(f"flag {name} needs a value", command)
    return after[0]


def _checked(flag: Flag, name: str, value: str, command: str) -> str:
    if flag.kind == "switch" and value not in _TRUE and value not in _FALSE:
        raise usage(f'flag {name} is on or off: want "true" or "false", not "{value}"', command)
    return value


def _unknown(name: str, by_name: dict[str, Flag], command: str) -> UsageError:
    where = f" for `{command}`" if command else ""
    return usage(f"unknown flag {name}{where}{guess(name, list(by_name))}", command)


def guess(word: str, known: Sequence[str]) -> str:
    """ "; did you mean X?" for the known word nearest to `word`, else ""."""
    from towline.cli.guess import nearest

    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""


def usage(message: str, command: str) -> UsageError:
    """A usage error that names the help page of the command."""
    return UsageError(message, f"See `towline {command} --help`." if command else "See `towline --help`.")
