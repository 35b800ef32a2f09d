"""Help pages, made from the catalog."""

from __future__ import annotations

import sys

from towline.cli import catalog, flags
from towline.cli.flags import Flag, Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH = 100
_TOP = "Usage:  towline [GLOBAL FLAGS] COMMAND\n\nContainer networks that move with their containers.\n"
_ENVIRONMENT = (
    "The daemon is found by -H, else TOWLINE_HOST, else DOCKER_HOST, else unix:///run/towline/docker.sock.\n"
    "Exit status: 0 done, 1 refused or different, 2 wrong command line, 125 daemon not reached.\n"
)


def help_command(args: Parsed) -> int:
    path = " ".join(args.operands)
    if path and catalog.find(path) is None:
        known = [command.path for command in catalog.COMMANDS]
        raise flags.usage(f"unknown command {path}{flags.guess(path, known)}", "")
    sys.stdout.write(page(path))
    return 0


def page(path: str) -> str:
    """Of a command or group; "" is the whole program."""
    command = catalog.find(path)
    if command is None:
        return f"{_TOP}\n{_commands('')}\n{_flags('Global flags', catalog.GLOBAL_FLAGS)}\n{_ENVIRONMENT}"
    if not command.handler:
        return f"Usage:  towline {command.path} COMMAND\n\n{command.summary}\n\n{_commands(command.path)}"
    words = ["towline", command.path, "[FLAGS]" if command.flags else "", command.operand]
    text = f"Usage:  {' '.join(filter(None, words))}\n\n{command.summary}\n"
    if command.aliases:
        text += f"\nAliases:  {', '.join(command.aliases)}\n"
    if command.flags:
        text += "\n" + _flags("Flags", command.flags)
    if command.examples:
        text += "\nExamples:\n" + "".join(f"  {example}\n" for example in command.examples)
    return text + "\n" + _flags("Global flags", catalog.GLOBAL_FLAGS)


def _commands(group: str) -> str:
    rows = [(command.path.rpartition(" ")[2], command.summary) for command in catalog.children(group)]
    return "Commands:\n" + _columns(rows) + f"\nSee `towline help {group or 'COMMAND'}{' COMMAND' if group else ''}`.\n"


def _flags(title: str, known: Sequence[Flag]) -> str:
    rows = []
    for flag in known:
        short = f"-{flag.short}, " if flag.short else "    "
        rows.append((f"{short}--{flag.long} {flag.meta}".rstrip(), flag.text))
    return f"{title}:\n" + _columns(rows)


def _columns(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in rows) + 2
    return "".join(f"  {left.ljust(width)}{_wrap(right, width + 2)}\n" for left, right in rows)


def _wrap(text: str, indent: int) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and indent + len(lines[-1]) + len(word) >= _WIDTH:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return f"\n{' ' * indent}".join(lines)
