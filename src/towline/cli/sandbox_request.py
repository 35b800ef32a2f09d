"""The request for a sandbox, from the flags of `run` and `attach`. Values go as typed: the daemon judges them."""

from __future__ import annotations

import os

from towline.cli.endpoints import networks
from towline.cli.errors import UsageError
from towline.cli.values import Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from towline.cli.flags import Parsed

PASSED_ON = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "USER")
"""What of the client's environment a command gets without being asked for."""


def run_body(args: Parsed) -> Object:
    """What `run` asks for. UsageError for flags that contradict each other or cannot be read."""
    if args.on("rm") and args.text("restart") not in ("", "no"):
        raise UsageError("--rm and --restart exclude each other")
    if args.text("restart") not in ("", "no") and not args.on("detach"):
        raise UsageError("--restart needs --detach: in the foreground the command's end is this command's end")
    return _filled(
        {
            "name": args.text("name"),
            "hostname": args.text("hostname"),
            **_shared(args),
            "command": args.operands,
            "environment": environment(args, {name: os.environ[name] for name in PASSED_ON if name in os.environ}),
            "directory": directory(args),
            "restart": args.text("restart"),
            "auto_remove": args.on("rm"),
            "dns": _filled(
                {
                    "servers": args.items("dns"),
                    "search": args.items("dns-search"),
                    "options": args.items("dns-option"),
                }
            ),
            "extra_hosts": args.items("add-host"),
            "sysctls": _pairs(args, "sysctl"),
        }
    )


def attach_body(args: Parsed) -> Object:
    """What `attach` asks for; the process is named together with its start, so that a reused pid is noticed."""
    if bool(args.text("pid")) == bool(args.text("netns")):
        raise UsageError("attach wants either --pid or --netns")
    if path := args.text("netns"):
        target: Object = {"netns": os.path.abspath(path)}
    else:
        target = {"process": process(_pid(args.text("pid")))}
    return _filled({"name": args.operands[0], **_shared(args), "attach": target})


def process(pid: int) -> Object:
    """pid and start time as the API takes them. UsageError if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except OSError:
        raise UsageError(f"there is no process {pid}") from None
    return {"pid": pid, "started": int(fields[19])}


def environment(args: Parsed, base: dict[str, str]) -> list[str]:
    """KEY=VALUE each: `base`, then --env-file, then --env; a later one replaces an earlier one."""
    found = dict(base)
    lines = [line for path in args.items("env-file") for line in _lines(path)]
    for text in (*lines, *args.items("env")):
        name, separator, value = text.partition("=")
        if not name or "\0" in text:
            raise UsageError(f'invalid variable "{text}": want KEY=VALUE or KEY')
        if separator:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return [f"{name}={value}" for name, value in found.items()]


def directory(args: Parsed) -> str:
    """Absolute; without --workdir the client's own."""
    try:
        return os.path.abspath(args.text("workdir"))
    except OSError:
        raise UsageError("the current directory is gone", "Name another with --workdir.") from None


def _shared(args: Parsed) -> Object:
    ports, exposed = args.items("publish"), args.items("expose")
    if args.on("publish-all"):
        ports = [*ports, *exposed]
    return {
        "service": args.text("service"),
        "networks": networks(args),
        "ports": ports,
        "exposed": exposed,
        "labels": args.pairs("label"),
    }


def _pairs(args: Parsed, flag: str) -> dict[str, str]:
    for text in args.items(flag):
        if "=" not in text or text.startswith("="):
            raise UsageError(f'invalid --{flag} "{text}": want KEY=VALUE')
    return args.pairs(flag)


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 11):
        raise UsageError(f'"{text}" is not a process id')
    return int(text)


def _lines(path: str) -> list[str]:
    """Lines of an environment file, without comments and empty ones."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.rstrip("\r\n").lstrip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read --env-file {path}: {error}") from None
    return [line for line in lines if line and not line.startswith("#")]


def _filled(body: Object) -> Object:
    """Without the members that say nothing."""
    return {name: value for name, value in body.items() if value not in ("", [], {}, False)}
