"""`towline network rm` and `prune`."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import Client, connect
from towline.cli.errors import ApiError, CliError
from towline.cli.flags import Parsed
from towline.cli.values import as_list, as_text

_QUESTION = (
    "WARNING! This will remove all custom networks not used by at least one container.\n"
    "Are you sure you want to continue? [y/N] "
)


def rm(args: Parsed) -> int:
    """Goes on after an error and ends with status 1 then; prints each network that is gone."""
    client = connect(args)
    removed: list[object] = []
    errors: list[object] = []
    for term in args.operands:
        try:
            _remove(client, term, args)
        except ApiError as error:
            if error.code == 404 and args.on("force"):
                continue
            errors.append({"Network": term, "Message": error.message})
            output.complain(error)
            continue
        removed.append(term)
        if not args.on("json"):
            sys.stdout.write(term + "\n")
            sys.stdout.flush()
    if args.on("json"):
        output.print_json({"Removed": removed, "Errors": errors})
    return 1 if errors else 0


def _remove(client: Client, term: str, args: Parsed) -> None:
    wait = "1" if args.on("wait") else ""
    client.call("DELETE", query.path(query.network_path(term), wait=wait), patient=args.on("wait"))


def prune(args: Parsed) -> int:
    client = connect(args)
    chosen = query.filters(args.items("filter"))
    if not args.on("force"):
        _ask()
    target = query.path("/networks/prune", filters=chosen, wait="1" if args.on("wait") else "")
    answer = client.object("POST", target, patient=True)
    names = [as_text(name) for name in as_list(answer.get("NetworksDeleted"))]
    if args.on("json"):
        output.print_json(answer)
    elif names:
        sys.stdout.write("Deleted Networks:\n" + "".join(output.cell(name) + "\n" for name in names) + "\n")
    return 0


def _ask() -> None:
    """The question goes to standard error, so that it is seen beside --json. CliError unless the answer is yes."""
    sys.stderr.write(_QUESTION)
    sys.stderr.flush()
    answer = sys.stdin.readline() if sys.stdin else ""
    if answer.strip().lower() not in ("y", "yes"):
        if not answer.endswith("\n"):
            sys.stderr.write("\n")
        raise CliError("nothing was removed", "Answer y, or use --force to go without the question.")
