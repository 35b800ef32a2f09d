"""`towline start`, `stop` and `rm`: one request a sandbox, going on after an error."""

from __future__ import annotations

import sys

from towline.cli import output, query, run
from towline.cli.client import Client, connect
from towline.cli.errors import ApiError
from towline.cli.flags import Parsed, usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LONGEST = 10**6


def start(args: Parsed) -> int:
    """Starts the sandbox's own command again, in the background."""
    client = connect(args)
    return _each(args, "Started", lambda term: bool(run.start(client, term)))


def stop(args: Parsed) -> int:
    """No error for one that does not run."""
    client, seconds = connect(args), _seconds(args)
    target = {term: query.path(query.sandbox_path(term, "stop"), t=seconds) for term in args.operands}
    return _each(args, "Stopped", lambda term: _asked(client, "POST", target[term], unchanged=304))


def rm(args: Parsed) -> int:
    """With --force no error for one that does not exist; its name is not printed then."""
    client, force = connect(args), "1" if args.on("force") else ""
    target = {term: query.path(query.sandbox_path(term), force=force) for term in args.operands}
    missing = 404 if force else 0
    return _each(args, "Removed", lambda term: _asked(client, "DELETE", target[term], missing=missing))


def _asked(client: Client, method: str, target: str, *, unchanged: int = 0, missing: int = 0) -> bool:
    """True if the sandbox is now as wanted; False if it is `missing`, which is no error. unchanged: a status that says
    that it was so before."""
    try:
        client.call(method, target, patient=True)
    except ApiError as error:
        if error.code == missing:
            return False
        if error.code != unchanged:
            raise
    return True


def _each(args: Parsed, done: str, ask: Callable[[str], bool]) -> int:
    """Prints each term for which `ask` is true; status 1 if one of them was refused."""
    names: list[object] = []
    errors: list[object] = []
    for term in args.operands:
        try:
            if not ask(term):
                continue
        except ApiError as error:
            errors.append({"Sandbox": term, "Message": error.message})
            output.complain(error)
            continue
        names.append(term)
        if not args.on("json"):
            sys.stdout.write(term + "\n")
            sys.stdout.flush()
    if args.on("json"):
        output.print_json({done: names, "Errors": errors})
    return 1 if errors else 0


def _seconds(args: Parsed) -> str:
    text = args.text("time")
    if args.given("time") and not (text.isascii() and text.isdigit() and int(text[:9]) < _LONGEST):
        raise usage(f'--time wants whole seconds, not "{text}"', "stop")
    return text
