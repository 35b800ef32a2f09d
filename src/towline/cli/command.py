"""What a command is, as data: its names, flags and handler."""

from __future__ import annotations

from towline.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FILTER = "Show only what matches KEY=VALUE"
FORMAT = Flag("format", "Print each by a template such as '{{.Name}}', or 'json'", "text", meta="TEMPLATE")

KINDS = {
    "networks": ("NETWORK", "network ls"),
    "sandboxes": ("SANDBOX", "ls --all"),
    "services": ("SERVICE", "service ls"),
}
"""What names are completed: kind -> (meta of flags that take one, the command that lists them with {{.Name}})."""


class Command:
    """handler: "module:function" in this package, imported when the command runs; "" for a group.

    least, most: how many operands it takes (most None: any number). operand: its name in the usage line.
    completes: what operands are, for completion: "programs" or several of KINDS, "commands", or words.
    program: operands end with a program's command line. The first operand ends the flags, and because the program's
    statuses are passed on, our own errors end with 125.
    """

    __slots__ = (
        "aliases",
        "completes",
        "examples",
        "flags",
        "handler",
        "least",
        "most",
        "operand",
        "path",
        "program",
        "summary",
    )

    def __init__(
        self,
        path: str,
        summary: str,
        handler: str = "",
        flags: Sequence[Flag] = (),
        operand: str = "",
        least: int = 0,
        most: int | None = 0,
        completes: str = "",
        aliases: Sequence[str] = (),
        examples: Sequence[str] = (),
        program: bool = False,
    ) -> None:
        self.path = path
        self.summary = summary
        self.handler = handler
        self.flags = flags
        self.operand = operand
        self.least = least
        self.most = most
        self.completes = completes
        self.aliases = aliases
        self.examples = examples
        self.program = program


def offers(command: Command, by_kind: Mapping[str, str]) -> list[str]:
    """What a shell's script offers for the kinds of names that the operands are; none if they are other words."""
    return [by_kind[word] for word in command.completes.split() if word in by_kind]
