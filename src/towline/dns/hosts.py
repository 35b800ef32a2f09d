"""/etc/hosts of a sandbox, as Docker writes it (docker facts 6.5; moby daemon/libnetwork/etchosts)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from towline.model.errors import InvalidParameter

_IPV4 = ("127.0.0.1\tlocalhost",)
_IPV6 = (
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)
_NAME = re.compile(r"[^\s#\x00-\x20\x7f]+")


def parse_extra_host(text: str) -> tuple[str, str]:
    """(name, address) of "name:address" or "name=address". InvalidParameter with Docker's texts; a name with white
    space, a line break or `#` is refused too, because it would make other lines of the file."""
    separator = "=" if "=" in text.partition(":")[0] else ":"
    name, found, address = text.partition(separator)
    if not found or not _NAME.fullmatch(name):
        raise InvalidParameter(f'bad format for add-host: "{text}"')
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        return name, str(ip_address(bare))
    except ValueError:
        raise InvalidParameter(f'invalid IP address in add-host: "{address}"') from None


def render_hosts(
    hostname: str, addresses: Sequence[str], extra: Iterable[tuple[str, str]] = (), *, ipv6: bool = True
) -> str:
    """addresses: the sandbox's own, bare, in the order of its endpoints. ipv6: off leaves out all IPv6 lines.

    A hostname with dots is listed whole and by its first label. InvalidParameter if the hostname would break the line.
    """
    if addresses and not _NAME.fullmatch(hostname):
        raise InvalidParameter(f"invalid hostname {hostname!r}: white space and # cannot stand in /etc/hosts")
    names = _own_names(hostname)
    records = [*((address, name) for name, address in extra), *((address, names) for address in addresses)]
    own = [f"{address}\t{name}" for address, name in records if ipv6 or ":" not in address]
    return "\n".join((*_IPV4, *(_IPV6 if ipv6 else ()), *own)) + "\n"


def revise_hosts(held: str, wanted: str, hostname: str) -> str:
    """The file of a running sandbox after a change of its networks: `held`, with the lines that follow its endpoints
    (its own addresses, and IPv6's) as they are in `wanted`. All other lines are the user's to change; they stay."""
    follows = re.compile(rf"\S+\t{re.escape(_own_names(hostname))}").fullmatch
    new = [line for line in wanted.splitlines() if line in _IPV6 or follows(line)]
    kept = [line for line in held.split("\n") if line in new or not (line in _IPV6 or follows(line))]
    if kept[-1] == "":
        kept.pop()
    return "\n".join((*kept, *(line for line in new if line not in kept))) + "\n"


def _own_names(hostname: str) -> str:
    first, dot, _ = hostname.partition(".")
    return f"{hostname} {first}" if dot else hostname
