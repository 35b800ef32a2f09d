"""`towline service create`, `update` and `rm`."""

from __future__ import annotations

import sys

from towline.cli import output, query
from towline.cli.client import connect
from towline.cli.errors import ApiError, UsageError
from towline.cli.flags import Parsed
from towline.cli.service_ports import ports, target
from towline.cli.values import Object, as_list, as_object, as_text

SERVICES = "/towline/v1/services"


def create(args: Parsed) -> int:
    """Prints the id."""
    body: Object = {
        "name": args.operands[0],
        "networks": args.items("network"),
        "ports": [port for text in args.items("publish") for port in ports(text)],
        "labels": args.pairs("label"),
    }
    if mode := args.text("endpoint-mode"):
        body["mode"] = mode
    return _report(connect(args).object("POST", SERVICES, body), args)


def update(args: Parsed) -> int:
    """What is not named stays as it is; another change in between is refused by the daemon."""
    client, path = connect(args), query.service_path(args.operands[0])
    known = client.object("GET", path)
    body: Object = {"version": known.get("version")}
    if mode := args.text("endpoint-mode"):
        body["mode"] = mode
    if args.given("label-add") or args.given("label-rm"):
        gone = args.items("label-rm")
        kept = {key: value for key, value in as_object(known.get("labels")).items() if key not in gone}
        body["labels"] = {**kept, **args.pairs("label-add")}
    if args.given("network-add") or args.given("network-rm"):
        body["networks"] = _networks(known, args)
    if args.given("publish-add") or args.given("publish-rm"):
        body["ports"] = _ports(known, args)
    if len(body) == 1:
        raise UsageError("nothing to change is named", "See `towline service update --help`.")
    return _report(client.object("POST", query.service_path(as_text(known.get("id")), "update"), body), args)


def rm(args: Parsed) -> int:
    """Goes on after an error and ends with status 1 then; prints each service that is gone."""
    client = connect(args)
    removed: list[object] = []
    errors: list[object] = []
    for term in args.operands:
        try:
            client.call("DELETE", query.path(query.service_path(term), force="1" if args.on("force") else ""))
        except ApiError as error:
            if error.code == 404 and args.on("force"):
                continue
            errors.append({"Service": term, "Message": error.message})
            output.complain(error)
            continue
        removed.append(term)
        if not args.on("json"):
            sys.stdout.write(term + "\n")
            sys.stdout.flush()
    if args.on("json"):
        output.print_json({"Removed": removed, "Errors": errors})
    return 1 if errors else 0


def _networks(known: Object, args: Parsed) -> list[str]:
    """By id, so that a name in between does not matter; what is removed may be named by either."""
    gone = set(args.items("network-rm"))
    kept: list[str] = []
    for each in map(as_object, as_list(known.get("networks"))):
        names = {as_text(each.get("id")), as_text(each.get("name"))}
        if each.get("ingress"):
            continue
        if not names & gone:
            kept.append(as_text(each.get("id")))
        gone -= names
    if gone:
        raise UsageError(f"service {as_text(known.get('name'))} is not on network {sorted(gone)[0]}")
    return [*kept, *args.items("network-add")]


def _ports(known: Object, args: Parsed) -> list[Object]:
    gone = {target(text): text for text in args.items("publish-rm")}
    kept: list[Object] = []
    for port in map(as_object, as_list(known.get("ports"))):
        key = (int(as_text(port.get("target")) or 0), as_text(port.get("protocol")))
        if gone.pop(key, None) is None:
            kept.append(port)
    if gone:
        text = sorted(gone.values())[0]
        raise UsageError(f"service {as_text(known.get('name'))} publishes no target port {text}")
    return [*kept, *(port for text in args.items("publish-add") for port in ports(text))]


def _report(service: Object, args: Parsed) -> int:
    if args.on("json"):
        output.print_json(service)
    else:
        sys.stdout.write(as_text(service.get("id")) + "\n")
    return 0
