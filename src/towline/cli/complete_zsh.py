"""The completion script of zsh."""

from __future__ import annotations

from towline.cli.catalog import COMMANDS, GLOBAL_FLAGS, Command, children
from towline.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = """\
#compdef towline
# zsh completion for towline; made by `towline completion zsh`.

_towline_networks() {
    local -a names
    names=(${(f)"$(towline network ls --format '{{.Name}}' 2>/dev/null)"})
    compadd -a names
}
"""
_TAIL = """
if [[ $funcstack[1] == _towline ]]; then
    _towline "$@"
else
    compdef _towline towline
fi
"""


def render() -> str:
    text = _HEAD + _group("", "_towline", GLOBAL_FLAGS)
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
    actions = {"networks": "_towline_networks", "commands": f"({' '.join(map(_last, children('')))})"}
    action = actions.get(command.completes, f"({command.completes})" if command.completes else "")
    operand = f"        '*:{command.operand.strip('[]').lower()}:{action}'\n" if command.operand else "        '*: :'\n"
    return f"\n{_function(command)}() {{\n    _arguments \\\n{_specs((*command.flags, *GLOBAL_FLAGS))}{operand}}}\n"


def _specs(known: Sequence[Flag]) -> str:
    return "".join(f"        {spec} \\\n" for flag in known for spec in _spec(flag))


def _spec(flag: Flag) -> list[str]:
    text = flag.text.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    repeat = "*" if flag.kind == "list" else ""
    action = "_towline_networks" if flag.meta == "NETWORK" else "_files" if flag.meta == "FILE" else ""
    if flag.choices:
        action = f"({' '.join(flag.choices)})"
    value = "" if flag.kind == "switch" else f":{flag.meta.lower().replace(':', '')}:{action}"
    names = [f"--{flag.long}", *([f"-{flag.short}"] if flag.short else [])]
    return [_quoted(f"{repeat}{name}[{text}]{value}") for name in names]


def _last(command: Command) -> str:
    return command.path.rpartition(" ")[2]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
