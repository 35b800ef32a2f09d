"""The completion script of fish."""

from __future__ import annotations

from towline.cli.catalog import COMMANDS, GLOBAL_FLAGS, children
from towline.cli.command import KINDS, Command, offers
from towline.cli.flags import Flag

_HEAD = """\
# fish completion for towline; made by `towline completion fish`.
function __towline_names
    towline $argv --format '{{.Name}}' 2>/dev/null
end

# True if the words before the cursor, without flags, are these.
function __towline_at
    set -l words (string match -v -- '-*' (commandline -opc))[2..-1]
    test "$words" = "$argv"
end

# True if they begin with these.
function __towline_in
    set -l words (string match -v -- '-*' (commandline -opc))[2..-1]
    set -l count (count $argv)
    test (count $words) -ge $count; and test "$words[1..$count]" = "$argv"
end

complete -c towline -f
"""
_BY_KIND = {kind: f"(__towline_names {words})" for kind, (_, words) in KINDS.items()}
_BY_KIND["programs"] = "(__fish_complete_command)"
_BY_META = {meta: _BY_KIND[kind] for kind, (meta, _) in KINDS.items()}


def render() -> str:
    text = _HEAD + "".join(_flag(flag, "") for flag in GLOBAL_FLAGS)
    for command in COMMANDS:
        group, _, last = command.path.rpartition(" ")
        place = _quoted(f"__towline_at {group}".strip())
        text += f"complete -c towline -n {place} -a {last} -d {_quoted(command.summary)}\n"
    for command in COMMANDS:
        inside = f"__towline_in {command.path}"
        text += "".join(_flag(flag, inside) for flag in command.flags)
        if offer := _operands(command):
            text += f"complete -c towline -n {_quoted(inside)} -a {_quoted(offer)}\n"
    return text


def _operands(command: Command) -> str:
    if known := offers(command, _BY_KIND):
        return " ".join(known)
    if command.completes == "commands":
        return " ".join(child.path for child in children(""))
    return command.completes


def _flag(flag: Flag, condition: str) -> str:
    line = "complete -c towline"
    line += f" -n {_quoted(condition)}" if condition else ""
    line += f" -l {flag.long}" + (f" -s {flag.short}" if flag.short else "")
    if flag.kind != "switch":
        line += " -r" if flag.meta == "FILE" else " -x"
    if flag.meta == "FILE":
        line += " -F"
    elif flag.meta in _BY_META:
        line += f" -a {_quoted(_BY_META[flag.meta])}"
    elif flag.choices:
        line += f" -a {_quoted(' '.join(flag.choices))}"
    return f"{line} -d {_quoted(flag.text)}\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
