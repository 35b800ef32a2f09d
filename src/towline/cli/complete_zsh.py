"""The completion script of zsh."""

from __future__ import annotations

from towline.cli.catalog import COMMANDS, GLOBAL_FLAGS, children
from towline.cli.command import KINDS, Command, offers
from towline.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = """\
#compdef towline
# zsh completion for towline; made by `towline completion zsh`.

_towline_names() {
    local -a names
    names=(${(f)"$(towline $@ --format '{{.Name}}' 2>/dev/null)"})
    compadd -a names
}
"""
_NAMES = """
_towline_{kind}() {{
    _towline_names {words}
}}
"""
_BY_KIND = {kind: f"_towline_{kind}" for kind in KINDS} | {"programs": "_command_names -e"}
_BY_META = {meta: f"_towline_{kind}" for kind, (meta, _) in KINDS.items()} | {"FILE": "_files"}
_TAIL = """
if [[ $funcstack[1] == _towline ]]; then
    _towline "$@"
else
    compdef _towline towline
fi
"""


def render() -> str:
    text = _HEAD + "".join(_NAMES.format(kind=kind, words=words) for kind, (_, words) in KINDS.items())
    text += _group("", "_towline", GLOBAL_FLAGS)
    for command in COMMANDS:
        if command.handler:
            text += _leaf(command)
        else:
            text += _group(command.path, _function(command), GLOBAL_FLAGS)
    return text + _TAIL


def _function(command: Command) -> str:
    return "_towline_" + command.path.replace(" ", "_")


def _group(path: str, name: str, known: Sequence[Flag]) -> str:
    """A function that offers the commands below `path` and goes on in the one that is named."""
    below = children(path)
    offered = "".join(f"                {_quoted(_last(c) + ':' + c.summary)}\n" for c in below)
    cases = "".join(f"                {'|'.join((_last(c), *c.aliases))}) {_function(c)} ;;\n" for c in below)
    return (
        f"\n{name}() {{\n    local state line\n    local -a commands\n    _arguments -C \\\n{_specs(known)}"
        "        '1: :->command' \\\n        '*:: :->rest'\n    case $state in\n        command)\n"
        f"            commands=(\n{offered}            )\n            _describe command commands ;;\n"
        f"        rest)\n            case $line[1] in\n{cases}            esac ;;\n    esac\n}}\n"
    )


def _leaf(command: Command) -> str:
    body = _specs((*command.flags, *GLOBAL_FLAGS)) + " \\\n".join(f"        {_quoted(o)}" for o in _operands(command))
    return f"\n{_function(command)}() {{\n    _arguments \\\n{body}\n}}\n"


def _operands(command: Command) -> list[str]:
    known = offers(command, _BY_KIND)
    if len(known) > 1:
        return [f"{place}:{word.lower()}:{known[place - 1]}" for place, word in enumerate(command.operand.split(), 1)]
    words = " ".join(map(_last, children(""))) if command.completes == "commands" else command.completes
    action = known[0] if known else f"({words})" if words else ""
    return [f"*:{command.operand.strip('[]').lower()}:{action}" if command.operand else "*: :"]


def _specs(known: Sequence[Flag]) -> str:
    return "".join(f"        {spec} \\\n" for flag in known for spec in _spec(flag))


def _spec(flag: Flag) -> list[str]:
    text = flag.text.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    repeat = "*" if flag.kind == "list" else ""
    action = _BY_META.get(flag.meta, "")
    if flag.choices:
        action = f"({' '.join(flag.choices)})"
    value = "" if flag.kind == "switch" else f":{flag.meta.lower().replace(':', '')}:{action}"
    names = [f"--{flag.long}", *([f"-{flag.short}"] if flag.short else [])]
    return [_quoted(f"{repeat}{name}[{text}]{value}") for name in names]


def _last(command: Command) -> str:
    return command.path.rpartition(" ")[2]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
