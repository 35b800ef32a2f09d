"""`towline ls`: sandboxes as `docker ps` shows containers."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import connect
from towline.cli.flags import Parsed
from towline.cli.formats import listing
from towline.cli.sandbox_words import age, command, networks, ports, status
from towline.cli.values import Object, as_list, as_object, as_text

_HEADINGS = {"ID": "SANDBOX ID", "CreatedAt": "CREATED AT", "RunningFor": "CREATED"}
_TABLE = ("ID", "Name", "Command", "RunningFor", "Status", "Networks", "Ports")
_SHORT = 12
_COMMAND = 22


def ls(args: Parsed) -> int:
    chosen = query.filters(args.items("filter"))
    everything = args.on("all") or any(item.startswith("status=") for item in args.items("filter"))
    answer = connect(args).objects("GET", query.path("/towline/v1/sandboxes", filters=chosen))
    sandboxes = [sandbox for sandbox in answer if everything or sandbox.get("state") == "running"]
    source = args.text("format")
    if args.on("json"):
        output.print_json(sandboxes)
    elif args.on("quiet"):
        sys.stdout.write("".join(_id(sandbox, args) + "\n" for sandbox in sandboxes))
    elif source and source != "table":
        rows = [row(sandbox, args) for sandbox in sandboxes]
        sys.stdout.write(listing(source, rows, row({}, args), _HEADINGS))
    else:
        sys.stdout.write(_table(sandboxes, args))
    return 0


def _table(sandboxes: list[Object], args: Parsed) -> str:
    lines = [[_HEADINGS.get(name, name.upper()) for name in _TABLE]]
    for sandbox in sandboxes:
        fields = row(sandbox, args)
        lines.append([output.cell(as_text(fields[name])) for name in _TABLE])
    return output.table(lines)


def row(sandbox: Object, args: Parsed) -> Object:
    """The fields that a template sees, all text; names as in `docker ps` where it has them."""
    labels = {key: as_text(value) for key, value in as_object(sandbox.get("labels")).items()}
    endpoints = [as_object(endpoint) for endpoint in as_list(sandbox.get("endpoints"))]
    return {
        "Command": command(sandbox, 0 if args.on("no-trunc") else _COMMAND),
        "CreatedAt": as_text(sandbox.get("created")),
        "ID": _id(sandbox, args),
        "Label": lambda name: labels.get(name, ""),
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Name": as_text(sandbox.get("name")),
        "Names": as_text(sandbox.get("name")),
        "Networks": networks(endpoints),
        "Ports": ports(endpoints),
        "RunningFor": age(as_text(sandbox.get("created"))),
        "State": as_text(sandbox.get("state")),
        "Status": status(sandbox),
    }


def _id(sandbox: Object, args: Parsed) -> str:
    whole = as_text(sandbox.get("id"))
    return whole if args.on("no-trunc") else whole[:_SHORT]
