"""`towline service ls` and `service inspect`."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import connect
from towline.cli.errors import ApiError
from towline.cli.flags import Parsed
from towline.cli.formats import listing, shaper
from towline.cli.network_ls import natural
from towline.cli.service_change import SERVICES
from towline.cli.values import Object, as_list, as_object, as_text

_HEADINGS = {"ID": "SERVICE ID"}
_COLUMNS = ("ID", "Name", "Mode", "Members", "Addresses", "Ports")


def ls(args: Parsed) -> int:
    services = connect(args).objects("GET", query.path(SERVICES, filters=query.filters(args.items("filter"))))
    services.sort(key=lambda service: natural(as_text(service.get("name"))))
    source = args.text("format")
    if args.on("json"):
        output.print_json(services)
    elif args.on("quiet"):
        sys.stdout.write("".join(as_text(service.get("id")) + "\n" for service in services))
    elif source and source != "table":
        sys.stdout.write(listing(source, [_row(service) for service in services], _row({}), _HEADINGS))
    else:
        table = [[_HEADINGS.get(name, name.upper()) for name in _COLUMNS]]
        table += [[output.cell(as_text(_row(service)[name])) for name in _COLUMNS] for service in services]
        sys.stdout.write(output.table(table))
    return 0


def inspect(args: Parsed) -> int:
    """Shows what was found even if some of the names were not; then the status is 1."""
    client, shape = connect(args), shaper(args)
    found: list[Object] = []
    failures: list[ApiError] = []
    for term in args.operands:
        try:
            found.append(client.object("GET", query.service_path(term)))
        except ApiError as error:
            failures.append(error)
    if args.on("json"):
        output.print_json(found)
    elif shape is not None:
        sys.stdout.write("".join(shape(_row(service)) for service in found))
    else:
        sys.stdout.write("\n".join(map(_page, found)))
    for failure in failures:
        output.complain(failure)
    return 1 if failures else 0


def _row(service: Object) -> Object:
    """The fields that a template sees, all text."""
    members = [as_object(member) for member in as_list(service.get("members"))]
    labels = {key: as_text(value) for key, value in as_object(service.get("labels")).items()}
    networks = [as_object(network) for network in as_list(service.get("networks"))]
    return {
        "ID": as_text(service.get("id")),
        "Name": as_text(service.get("name")),
        "Mode": as_text(service.get("mode")),
        "Members": _count(members),
        "Networks": ", ".join(as_text(network.get("name")) for network in networks),
        "Addresses": ", ".join(address for network in networks for address in _addresses(network)),
        "Ports": ", ".join(_port(as_object(port)) for port in as_list(service.get("ports"))),
        "Label": lambda name: labels.get(name, ""),
        "Labels": ",".join(f"{key}={value}" for key, value in labels.items()),
        "Created": as_text(service.get("created")),
        "Updated": as_text(service.get("updated")),
    }


def _count(members: list[Object]) -> str:
    """Those on nodes that are there; and of how many, if some are not."""
    up = sum(member.get("up") is True for member in members)
    return f"{up}" if up == len(members) else f"{up}/{len(members)}"


def _addresses(network: Object) -> list[str]:
    found = (as_text(network.get(family)) for family in ("ipv4", "ipv6"))
    return [cidr.partition("/")[0] for cidr in found if cidr and not network.get("ingress")]


def _port(port: Object) -> str:
    """As `docker service ls` writes it; of mode host with that word."""
    published = as_text(port.get("published"))
    outside = ("*:" if port.get("mode") == "ingress" else "host:") + (published if published != "0" else "any")
    name = f" ({as_text(port.get('name'))})" if port.get("name") else ""
    return f"{outside}->{as_text(port.get('target'))}/{as_text(port.get('protocol'))}{name}"


def _page(service: Object) -> str:
    row = _row(service)
    about = [
        ("Service:", as_text(row["Name"])),
        ("ID:", as_text(row["ID"])),
        ("Mode:", as_text(row["Mode"])),
        ("Ports:", as_text(row["Ports"]) or "none"),
        ("Labels:", as_text(row["Labels"]) or "none"),
    ]
    networks = [["NETWORK", "ADDRESS"]]
    for network in map(as_object, as_list(service.get("networks"))):
        cidrs = [as_text(network.get(family)) for family in ("ipv4", "ipv6") if network.get(family)]
        kind = " (ingress)" if network.get("ingress") else ""
        networks.append([output.cell(as_text(network.get("name")) + kind), ", ".join(cidrs) or "its members'"])
    members = [["MEMBER", "SANDBOX", "NODE", "ADDRESSES"]]
    for member in map(as_object, as_list(service.get("members"))):
        held = [as_text(cidr) for cidrs in as_object(member.get("addresses")).values() for cidr in as_list(cidrs)]
        node = as_text(member.get("hostname")) + ("" if member.get("up") else " (down)")
        cells = (as_text(member.get("name")), as_text(member.get("sandbox"))[:12], node, ", ".join(held))
        members.append([output.cell(cell) for cell in cells])
    head = output.table([(title, output.cell(text)) for title, text in about])
    tables = [output.table(rows) for rows in (networks, members) if len(rows) > 1]
    return "\n".join([head, *tables])
