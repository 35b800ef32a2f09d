"""`towline network ls`."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import connect
from towline.cli.flags import Parsed
from towline.cli.formats import listing
from towline.cli.values import Object, as_object, as_text

_HEADINGS = {"ID": "NETWORK ID", "CreatedAt": "CREATED AT"}
_SHORT = 12


def ls(args: Parsed) -> int:
    networks = connect(args).objects("GET", query.path("/networks", filters=query.filters(args.items("filter"))))
    networks.sort(key=lambda network: natural(as_text(network.get("Name"))))
    source = args.text("format")
    if args.on("json"):
        output.print_json(networks)
    elif args.on("quiet"):
        sys.stdout.write("".join(_id(network, args) + "\n" for network in networks))
    elif source and source != "table":
        rows = [_row(network, args) for network in networks]
        sys.stdout.write(listing(source, rows, _row({}, args), _HEADINGS))
    else:
        sys.stdout.write(_table(networks, args))
    return 0


def natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts net9 before net10."""
    parts: list[tuple[int, int, str]] = []
    digits = letters = ""
    for char in name + "\0":
        if char.isascii() and char.isdigit():
            digits += char
            continue
        if digits:
            parts += [(1, 0, letters), (0, len(digits.lstrip("0")), digits.lstrip("0"))]
            digits = letters = ""
        letters += char
    return [*parts, (1, 0, letters[:-1])]


def _table(networks: list[Object], args: Parsed) -> str:
    rows = [("NETWORK ID", "NAME", "DRIVER", "SCOPE")]
    for network in networks:
        name, driver, scope = (output.cell(as_text(network.get(key))) for key in ("Name", "Driver", "Scope"))
        rows.append((output.cell(_id(network, args)), name, driver, scope))
    return output.table(rows)


def _id(network: Object, args: Parsed) -> str:
    whole = as_text(network.get("Id"))
    return whole if args.on("no-trunc") else whole[:_SHORT]


def _row(network: Object, args: Parsed) -> Object:
    """The fields that a template sees, all text, with the names of the docker CLI."""
    labels = {key: as_text(value) for key, value in as_object(network.get("Labels")).items()}
    return {
        "CreatedAt": _created(as_text(network.get("Created"))),
        "Driver": as_text(network.get("Driver")),
        "ID": _id(network, args),
        "IPv4": as_text(network.get("EnableIPv4", True)),
        "IPv6": as_text(network.get("EnableIPv6", False)),
        "Internal": as_text(network.get("Internal", False)),
        "Label": lambda name: labels.get(name, ""),
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Name": as_text(network.get("Name")),
        "Scope": as_text(network.get("Scope")),
    }


def _created(stamp: str) -> str:
    """RFC 3339 as Go prints a time."""
    date, separator, clock = stamp.partition("T")
    return f"{date} {clock[:-1]} +0000 UTC" if separator and clock.endswith("Z") else stamp
