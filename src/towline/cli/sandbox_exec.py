"""`towline exec`: a command beside the one that runs in a sandbox."""

from __future__ import annotations

import os
import sys

from towline.cli import query
from towline.cli.client import connect
from towline.cli.errors import CliError
from towline.cli.flags import Parsed
from towline.cli.sandbox_request import directory, environment
from towline.cli.values import Object, as_list, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def exec_in(args: Parsed) -> int:
    """The command's exit code; 126 and 127 as `run`. It has the sandbox's environment and that of --env."""
    from towline.cli.foreground import check_place

    client = connect(args)
    name, *command = args.operands
    if command[:1] == ["--"]:
        del command[0]
    check_place(client)
    sandbox = client.object("GET", query.sandbox_path(name))
    pid = _inhabitant(sandbox, name)
    return _enter(sandbox, pid, command, environment(args, _variables(sandbox)), directory(args))


def _variables(sandbox: Object) -> dict[str, str]:
    """The sandbox's own, at this terminal."""
    found = dict(as_text(text).partition("=")[::2] for text in as_list(sandbox.get("environment")))
    return found | {name: os.environ[name] for name in ("TERM",) if name in os.environ}


def _enter(sandbox: Object, pid: int, command: list[str], variables: list[str], where: str) -> int:
    from towline.model.errors import TowlineError
    from towline.runtime import foreground, identity
    from towline.runtime.check import complete_environment

    texts = complete_environment(tuple(variables), as_text(sandbox.get("hostname")))
    sys.stdout.flush()
    try:
        return foreground.exec_in(
            as_text(sandbox.get("id")), pid, identity.started(pid) or 0, tuple(command), texts, where
        )
    except TowlineError as error:
        raise CliError(str(error)) from None


def _inhabitant(sandbox: Object, name: str) -> int:
    """A process that lives in the sandbox: the one that the daemon watches, or a child of it where that one is the
    command's parent."""
    pid, netns = sandbox.get("pid"), as_text(sandbox.get("netns"))
    if sandbox.get("state") != "running":
        raise CliError(f"sandbox {name} is not running", f"Start it with `towline start {name}`.")
    if isinstance(pid, int) and pid > 0:
        for candidate in (pid, *_children(pid)):
            if _same_namespace(candidate, netns):
                return candidate
    raise CliError(
        f"no process of sandbox {name} is known, only its namespace {netns}",
        f"Use `nsenter --net={netns} COMMAND` to go there.",
    )


def _children(pid: int) -> Iterator[int]:
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            yield from map(int, file.read().split())
    except OSError:
        return


def _same_namespace(pid: int, netns: str) -> bool:
    try:
        return os.path.samestat(os.stat(f"/proc/{pid}/ns/net"), os.stat(netns))
    except OSError:
        return False
