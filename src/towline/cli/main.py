"""Entry of `towline`: finds the command, runs it, and turns whatever ends it into an exit status.

0: done, or store and kernel are equal. 1: the daemon said no, or differences were found. 2: the command line is wrong.
125: the daemon cannot be reached. 130: interrupted. 141: the reader of the output went away. `run` and `exec` pass on
their command's status: 125 is then any error of ours, 126 a command that cannot be executed, 127 one that is not there.
"""

from __future__ import annotations

import os
import sys

from towline.cli import catalog, flags
from towline.cli.errors import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    NOT_EXECUTABLE,
    NOT_FOUND,
    NOT_STARTED,
    CliError,
)
from towline.cli.flags import Parsed
from towline.cli.output import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from towline.cli.command import Command

    Handler = Callable[[Parsed], int]


def main(argv: list[str] | None = None) -> int:
    """Run one command line (default: this process's); answer its exit status."""
    _set_streams()
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
    except CliError as error:
        _flush_quietly()
        complain(error)
        return error.status
    except KeyboardInterrupt:
        _flush_quietly()
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        _silence_stdout()
        complain(CliError(f"cannot write the output: {error.strerror}"))
        return FAILED
    return status


def _run(argv: list[str]) -> int:
    parsed = Parsed()
    start = flags.parse(argv, (*catalog.GLOBAL_FLAGS, _VERSION_FLAG), "", parsed, lead=True)
    if parsed.on("version"):
        return _call("version:version", parsed)
    command, rest = _find(argv[start:])
    if command is None or not command.program:
        return _obey(command, rest, parsed)
    try:
        return _obey(command, rest, parsed)
    except CliError as error:
        error.status = error.status if error.status in (NOT_EXECUTABLE, NOT_FOUND) else NOT_STARTED
        raise


def _obey(command: Command | None, words: list[str], parsed: Parsed) -> int:
    path = command.path if command else ""
    known = (*(command.flags if command else ()), *catalog.GLOBAL_FLAGS)
    if command is not None and command.program:
        end = flags.parse(words, known, path, parsed, lead=True)
        parsed.operands = words[end:]
    else:
        flags.parse(words, known, path, parsed)
    if command is None or not command.handler or parsed.on("help"):
        return _show_help(path)
    _check_operands(command, parsed)
    return _call(command.handler, parsed)


_VERSION_FLAG = flags.Flag("version", "Show the versions of client and daemon", short="v")


def _find(words: list[str]) -> tuple[Command | None, list[str]]:
    """The command that the leading words name, and what follows; None for no words."""
    command: Command | None = None
    for index, word in enumerate(words):
        if command is not None and (command.handler or word.startswith("-")):
            return command, words[index:]
        group = command.path if command else ""
        found = catalog.find(f"{group} {word}".strip())
        if found is None:
            names = [child.path.rpartition(" ")[2] for child in catalog.children(group)]
            where = f" for `{group}`" if group else ""
            raise flags.usage(f"unknown command {word}{where}{flags.guess(word, names)}", group)
        command = found
    return command, []


def _check_operands(command: Command, parsed: Parsed) -> None:
    count = len(parsed.operands)
    if count < command.least:
        raise flags.usage(f"`{command.path}` needs {command.operand}", command.path)
    if command.most is not None and count > command.most:
        extra = " ".join(parsed.operands[command.most :])
        takes = f"takes {'one ' * (command.most == 1)}{command.operand}" if command.most else "takes no names"
        raise flags.usage(f"`{command.path}` {takes}; too many: {extra}", command.path)
    if parsed.on("json") and parsed.text("format"):
        raise flags.usage("--json and --format exclude each other", command.path)


def _call(handler: str, parsed: Parsed) -> int:
    module, _, name = handler.partition(":")
    run: Handler = getattr(__import__(f"towline.cli.{module}", fromlist=[name]), name)
    return run(parsed)


def _show_help(path: str) -> int:
    from towline.cli.pages import page

    sys.stdout.write(page(path))
    return 0


def _set_streams() -> None:
    """Names that cannot be encoded are shown as escapes instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _flush_quietly() -> None:
    try:
        sys.stdout.flush()
    except OSError:
        _silence_stdout()


def _silence_stdout() -> None:
    """Point standard output nowhere, so that the interpreter's last flush cannot fail again."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except (OSError, ValueError):
        return
