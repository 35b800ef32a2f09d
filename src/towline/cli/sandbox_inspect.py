"""`towline inspect`: a sandbox, its endpoints, and the path of each as the daemon explains and the kernel has it."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import Client, connect
from towline.cli.errors import ApiError
from towline.cli.flags import Parsed
from towline.cli.formats import shaper
from towline.cli.sandbox_page import page
from towline.cli.values import Object, as_list


def inspect(args: Parsed) -> int:
    """Shows what was found even if some of the names were not; then the status is 1."""
    client, shape = connect(args), shaper(args)
    found: list[Object] = []
    failures: list[ApiError] = []
    for term in args.operands:
        try:
            found.append(_explained(client, term))
        except ApiError as error:
            failures.append(error)
    if shape is not None:
        sys.stdout.write("".join(shape(sandbox) for sandbox in found))
    elif args.on("json"):
        output.print_json(found)
    else:
        sys.stdout.write("\n".join(map(page, found)))
    for failure in failures:
        output.complain(failure)
    return 1 if failures else 0


def _explained(client: Client, term: str) -> Object:
    """The daemon's object, with `path` added: a list of {"endpoint", "steps": [{"object", "text", "problem"}]}."""
    sandbox = client.object("GET", query.sandbox_path(term))
    try:
        path = client.call("GET", query.sandbox_path(str(sandbox.get("id")), "explain"), patient=True)
    except ApiError as error:
        if error.code != 404:
            raise
        path = None  # removed meanwhile, or a daemon that does not explain
    return {**sandbox, "path": as_list(path)}
