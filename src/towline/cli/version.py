"""`towline version`."""

from __future__ import annotations

import os
import sys

from towline import __version__
from towline.cli import formats, output
from towline.cli.client import connect
from towline.cli.errors import CliError
from towline.cli.flags import Parsed
from towline.cli.values import Object, as_object, as_text

_SERVER_ROWS = (
    ("Version", "Version"),
    ("ApiVersion", "API version"),
    ("MinAPIVersion", "Oldest API version"),
    ("Os", "OS"),
    ("Arch", "Architecture"),
    ("KernelVersion", "Kernel"),
)


def version(args: Parsed) -> int:
    """Shows the client's own version even if the daemon does not answer; the status is the error's then."""
    client, failure = client_facts(), None
    server: Object | None = None
    formats.shaper(args)
    try:
        server = connect(args).object("GET", "/version")
    except CliError as error:
        failure = error
    formats.show(args, {"Client": client, "Server": server}, lambda: _page(client, server))
    if failure is None:
        return 0
    sys.stdout.flush()
    output.complain(failure)
    return failure.status


def client_facts() -> Object:
    system = os.uname()
    python = ".".join(map(str, sys.version_info[:3]))
    return {"Version": __version__, "Python": python, "Os": system.sysname.lower(), "Arch": system.machine}


def _page(client: Object, server: Object | None) -> str:
    rows = [("Client: Towline",), *((f" {key}:", as_text(value)) for key, value in client.items())]
    text = output.table(rows)
    if server is None:
        return text
    name = as_text(as_object(server.get("Platform")).get("Name")) or "daemon"
    found = [(f" {title}:", output.cell(as_text(server[key]))) for key, title in _SERVER_ROWS if server.get(key)]
    return text + "\n" + output.table([(f"Server: {output.cell(name)}",), *found])
