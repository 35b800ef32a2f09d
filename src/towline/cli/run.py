"""`towline run` and `towline attach`."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import Client, connect
from towline.cli.errors import NOT_EXECUTABLE, NOT_FOUND, ApiError, CliError, UsageError
from towline.cli.flags import Parsed
from towline.cli.sandbox_request import attach_body, process, run_body
from towline.cli.values import Object, as_list, as_object, as_text

SANDBOXES = "/towline/v1/sandboxes"
_USE_NAMES = """Names are served at 127.0.0.11 in that namespace. Programs there need the line
"nameserver 127.0.0.11" in their /etc/resolv.conf; for `ip netns exec NAME` put it into /etc/netns/NAME/resolv.conf.
"""


def run(args: Parsed) -> int:
    """In the background: prints the id. In the foreground: this process accompanies the command, status as its own."""
    client, body = connect(args), run_body(args)
    if args.on("detach"):
        return _detached(client, body, args)
    if args.on("json"):
        raise UsageError("--json is for --detach: in the foreground the output is the command's")
    from towline.cli.foreground import run_here

    return run_here(client, body)


def attach(args: Parsed) -> int:
    """Prints the id, and to a person how names are found in a namespace whose files are not ours."""
    body = attach_body(args)
    _report(create(connect(args), body), args)
    if sys.stderr.isatty() and not args.on("json") and _has_names(body):
        sys.stderr.write(_USE_NAMES)
    return 0


def _has_names(body: Object) -> bool:
    names = [as_text(as_object(network).get("network")) for network in as_list(body.get("networks"))]
    return any(name not in ("bridge", "none") for name in names)


def create(client: Client, body: Object) -> Object:
    """The answer to a new sandbox; its warning is shown."""
    answer = client.object("POST", SANDBOXES, body)
    if warning := as_text(answer.get("warning")):
        sys.stderr.write(f"WARNING: {output.clean(warning)}\n")
    return answer


def start(client: Client, sandbox_id: str, pid: int = 0) -> Object:
    """pid: the process that will live in it; 0: the daemon starts the sandbox's own command."""
    body = {"process": process(pid)} if pid else None
    return client.object("POST", query.sandbox_path(sandbox_id, "start"), body, patient=True)


def remove(client: Client, sandbox_id: str) -> None:
    """Whatever state it is in; nothing if it is gone."""
    try:
        client.call("DELETE", query.path(query.sandbox_path(sandbox_id), force="1"))
    except ApiError as error:
        if error.code != 404:
            raise


def _detached(client: Client, body: Object, args: Parsed) -> int:
    answer = create(client, body)
    sandbox_id = as_text(answer.get("id"))
    try:
        start(client, sandbox_id)
    except BaseException as error:
        if isinstance(error, ApiError):
            error.status = _status_of(client, sandbox_id, error)
        give_up(client, sandbox_id)
        raise
    _report(answer, args)
    return 0


def give_up(client: Client, sandbox_id: str) -> None:
    """Remove what could not be started; says so if even that fails."""
    try:
        remove(client, sandbox_id)
    except CliError as error:
        output.complain(CliError(f"sandbox {sandbox_id[:12]} is left behind: {error.message}"))


def _status_of(client: Client, sandbox_id: str, error: ApiError) -> int:
    """126 or 127 where the sandbox's record says that its command could not be executed."""
    try:
        code = client.object("GET", query.sandbox_path(sandbox_id)).get("exit_code")
    except CliError:
        return error.status
    return code if isinstance(code, int) and code in (NOT_EXECUTABLE, NOT_FOUND) else error.status


def _report(answer: Object, args: Parsed) -> None:
    if args.on("json"):
        output.print_json(answer)
    else:
        sys.stdout.write(as_text(answer.get("id")) + "\n")
