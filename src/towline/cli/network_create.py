"""`towline network create`: flags to the request that the docker CLI would send."""

from __future__ import annotations

import sys

from towline.cli import output
from towline.cli.client import connect
from towline.cli.flags import Parsed, usage
from towline.cli.values import Object, as_object, as_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_COMMAND = "network create"


def create(args: Parsed) -> int:
    answer = connect(args).object("POST", "/networks/create", create_body(args))
    if args.on("json"):
        output.print_json(answer)
        return 0
    if warning := as_text(answer.get("Warning")):
        sys.stderr.write(f"WARNING: {output.clean(warning)}\n")
    sys.stdout.write(as_text(answer.get("Id")) + "\n")
    return 0


def create_body(args: Parsed) -> Object:
    """EnableIPv4 and EnableIPv6 are sent only if given: the daemon has the defaults."""
    source = args.text("config-from")
    body: Object = {
        "Name": args.operands[0],
        "Driver": args.text("driver") or "bridge",
        "Scope": args.text("scope"),
        "IPAM": {
            "Driver": args.text("ipam-driver") or "default",
            "Options": args.pairs("ipam-opt"),
            "Config": pools(args),
        },
        "Internal": args.on("internal"),
        "Attachable": args.on("attachable"),
        "Ingress": args.on("ingress"),
        "ConfigOnly": args.on("config-only"),
        "ConfigFrom": {"Network": source} if source else None,
        "Options": args.pairs("opt"),
        "Labels": args.pairs("label"),
    }
    for flag, field in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if args.given(flag):
            body[field] = args.on(flag)
    return body


def pools(args: Parsed) -> list[Object]:
    """One pool a subnet, each with the range, gateway and auxiliary addresses that lie in it.

    With a single subnet all belong to it and the daemon judges them. UsageError where they cannot be told apart.
    """
    subnets, ranges, gateways = args.items("subnet"), args.items("ip-range"), args.items("gateway")
    aux = args.pairs("aux-address")
    if not all(aux.values()):
        raise usage("--aux-address wants NAME=ADDRESS", _COMMAND)
    if len(subnets) < max(len(ranges), len(gateways)) or (aux and not subnets):
        raise usage("every --ip-range, --gateway and --aux-address needs a --subnet that it lies in", _COMMAND)
    found: list[Object] = [{"Subnet": subnet} for subnet in subnets]
    owner = _owner(subnets)
    for flag, field, values in (("ip-range", "IPRange", ranges), ("gateway", "Gateway", gateways)):
        for value in values:
            pool = found[owner(flag, value)]
            if field in pool:
                raise usage(f"two --{flag} for the subnet {pool['Subnet']}: {pool[field]} and {value}", _COMMAND)
            pool[field] = value
    for name, address in aux.items():
        pool = found[owner("aux-address", address)]
        pool["AuxiliaryAddresses"] = {**as_object(pool.get("AuxiliaryAddresses")), name: address}
    return found


def _owner(subnets: list[str]) -> Callable[[str, str], int]:
    """Which subnet, by position, an address or range of a flag belongs to."""
    if len(subnets) == 1:
        return lambda flag, value: 0
    import ipaddress

    try:
        networks = [ipaddress.ip_network(subnet, strict=False) for subnet in subnets]
    except ValueError as error:
        raise usage(f"invalid --subnet: {error}", _COMMAND) from None

    def owner(flag: str, value: str) -> int:
        try:
            wanted = ipaddress.ip_network(value, strict=False).network_address
        except ValueError as error:
            raise usage(f"invalid --{flag}: {error}", _COMMAND) from None
        for index, network in enumerate(networks):
            if wanted in network:
                return index
        raise usage(f"no --subnet holds --{flag} {value}", _COMMAND)

    return owner
