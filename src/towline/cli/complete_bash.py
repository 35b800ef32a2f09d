"""The completion script of bash. Names of objects are only compared and quoted: `compgen -W` would expand them."""

from __future__ import annotations

from towline.cli.catalog import COMMANDS, GLOBAL_FLAGS, children
from towline.cli.command import KINDS, Command, offers
from towline.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = """\
# bash completion for towline; made by `towline completion bash`.
_towline_offer() {
    local word
    for word in "$@"; do
        [[ $word == "$cur"* ]] && COMPREPLY+=("$word")
    done
}

_towline_names() {
    local -a names
    local name
    mapfile -t names < <(towline "$@" --format '{{.Name}}' 2>/dev/null)
    for name in "${names[@]}"; do
        [[ $name == "$cur"* ]] && COMPREPLY+=("$(printf %q "$name")")
    done
}

_towline_programs() {
    mapfile -t COMPREPLY < <(compgen -c -- "$cur")
}

_towline() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at="" i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at/${COMP_WORDS[i]}" in
"""
_BY_KIND = {kind: f"_towline_names {words}" for kind, (_, words) in KINDS.items()} | {"programs": "_towline_programs"}
_BY_META = {meta: _BY_KIND[kind] for kind, (meta, _) in KINDS.items()} | {"FILE": "compopt -o default"}
_TAIL = """\
    esac
}
complete -F _towline towline
"""


def render() -> str:
    skipped = "|".join(f"*/{name}" for flag in GLOBAL_FLAGS if flag.kind != "switch" for name in _spellings(flag))
    text = f"{_HEAD}            {skipped}) ((i++)) ;;\n"
    text += "".join(f"            {_words_to(command)}) at={_at(command)} ;;\n" for command in COMMANDS)
    text += '        esac\n    done\n    case "$at:$prev" in\n' + _values()
    text += '    esac\n    case "$at:$cur" in\n' + _place("", GLOBAL_FLAGS, _offer(_names(children(""))))
    for command in COMMANDS:
        text += _place(_at(command), (*command.flags, *GLOBAL_FLAGS), _operands(command))
    return text + _TAIL


def _at(command: Command) -> str:
    return command.path.replace(" ", "/")


def _words_to(command: Command) -> str:
    """Patterns of "where we are / next word" that lead to a command."""
    group, _, last = command.path.rpartition(" ")
    return "|".join(f"{group}/{word}" for word in (last, *command.aliases))


def _values() -> str:
    """Flags that take a value: network names, their choices, a file name, or nothing to offer."""
    text, silent = "", ["*:--host", "*:-H"]
    for command in COMMANDS:
        for flag in command.flags:
            patterns = [f"{_at(command)}:{name}" for name in _spellings(flag)]
            offer = _BY_META.get(flag.meta) or _offer(" ".join(flag.choices))
            if flag.kind != "switch" and offer:
                text += f"        {'|'.join(patterns)})\n            {offer}\n            return ;;\n"
            elif flag.kind != "switch":
                silent += patterns
    files = "|".join(f"*:--{flag.long}" for flag in GLOBAL_FLAGS if flag.meta == "FILE")
    text += f"        {files})\n            compopt -o default\n            return ;;\n"
    return text + "        " + "|\\\n        ".join(silent) + ") return ;;\n"


def _spellings(flag: Flag) -> list[str]:
    return [f"--{flag.long}", *([f"-{flag.short}"] if flag.short else [])]


def _place(at: str, known: Sequence[Flag], operands: str) -> str:
    options = _offer(" ".join(f"--{flag.long}" for flag in known))
    text = f"        {at}:-*)\n            {options} ;;\n"
    return text + (f"        {at}:*)\n            {operands} ;;\n" if operands else "")


def _offer(words: str) -> str:
    return f"_towline_offer {words}" if words else ""


def _operands(command: Command) -> str:
    if not command.handler:
        return _offer(_names(children(command.path)))
    if known := offers(command, _BY_KIND):
        return "\n            ".join(known)
    return _offer(_names(children("")) if command.completes == "commands" else command.completes)


def _names(commands: Sequence[Command]) -> str:
    return " ".join(command.path.rpartition(" ")[2] for command in commands)
