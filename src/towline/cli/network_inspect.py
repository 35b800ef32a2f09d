"""`towline network inspect`."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import connect
from towline.cli.errors import ApiError
from towline.cli.flags import Parsed
from towline.cli.formats import shaper
from towline.cli.values import Object


def inspect(args: Parsed) -> int:
    """Shows what was found even if some of the names were not; then the status is 1."""
    client, shape = connect(args), shaper(args)
    found: list[Object] = []
    failures: list[ApiError] = []
    for term in args.operands:
        target = query.path(query.network_path(term), verbose="true" if args.on("verbose") else "")
        try:
            found.append(client.object("GET", target))
        except ApiError as error:
            failures.append(error)
    if shape is None:
        output.print_json(found)
    else:
        sys.stdout.write("".join(shape(network) for network in found))
    for failure in failures:
        output.complain(failure)
    return 1 if failures else 0
