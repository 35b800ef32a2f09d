"""Reading of published and exposed ports, in all forms of `docker run -p` and `--expose`.

Clients send the text as it was typed; it is read here and nowhere else. Rules: github.com/docker/go-connections nat
(ParsePortSpec) and docker/cli opts/port.go (the form with names). Host port 0 is "any free one", as in Docker.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple, cast

from towline.model.endpoint import Protocol
from towline.model.errors import InvalidParameter
from towline.model.sandbox import PortBinding

PROTOCOLS = ("tcp", "udp", "sctp")
HIGHEST = 65535
MOST = 10_000
"""More bindings in one request are refused: each is a socket and some elements of the rules."""

_NUMBER = re.compile(r"[0-9]{1,5}")
_NAMED = ("published", "target", "protocol")


class Span(NamedTuple):
    first: int
    last: int

    @property
    def size(self) -> int:
        return self.last - self.first + 1


def parse_publish(text: str) -> tuple[PortBinding, ...]:
    """The bindings that `text` asks for, one for each port of the sandbox. InvalidParameter, with
    Docker's text first."""
    host_ip, host, target = _split(_without_names(text) if "=" in text else text)
    number, _, protocol = target.partition("/")
    if not number:
        raise _refused(text, "", "it names no port of the sandbox; write [[IP:]HOSTPORT:]PORT[/PROTOCOL]")
    ports = _span(text, number, "a port of the sandbox", lowest=1)
    hosts = _span(text, host, "a host port", lowest=0) if host else Span(0, 0)
    checked = _protocol(text, protocol)
    address = _address(text, host_ip)
    if ports.size > MOST:
        raise _refused(text, number, f"a range of more than {MOST} ports cannot be published")
    if not hosts.last or (ports.size == 1 and hosts.size > 1):
        end = hosts.last if hosts.size > 1 else 0
        return tuple(PortBinding(p, checked, address, hosts.first, end) for p in range(ports.first, ports.last + 1))
    if hosts.size != ports.size:
        raise InvalidParameter(
            f"invalid ranges specified for container and host Ports: {number} and {host}: {_in(text)} one has "
            f"{ports.size} ports, the other {hosts.size}; make them equally long"
        )
    return tuple(PortBinding(ports.first + i, checked, address, hosts.first + i) for i in range(ports.size))


def parse_exposed(text: str) -> tuple[str, ...]:
    """ "80", "80/udp" or "80-82/tcp" as "80/tcp", one for each port. Errors as `parse_publish`."""
    number, _, protocol = text.partition("/")
    ports = _span(text, number, "a port of the sandbox", lowest=1)
    checked = _protocol(text, protocol)
    return tuple(f"{port}/{checked}" for port in range(ports.first, ports.last + 1))


def parse_all(texts: Sequence[str]) -> tuple[PortBinding, ...]:
    """Several `-p`, doubles left out. InvalidParameter also for more than `MOST` of them."""
    found: dict[PortBinding, None] = {}
    for text in texts:
        found |= dict.fromkeys(parse_publish(text))
        if len(found) > MOST:
            raise InvalidParameter(f"more than {MOST} ports are asked to be published; publish fewer")
    return tuple(found)


def _without_names(text: str) -> str:
    values: dict[str, str] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise InvalidParameter(f"invalid publish opts format (should be name=value but got '{part}')")
        if name.strip().lower() not in _NAMED:
            raise InvalidParameter(f"invalid publish opts format: {_in(text)} {name!r} is none of {', '.join(_NAMED)}")
        values[name.strip().lower()] = value.strip()
    return f"{values.get('published', '')}:{values.get('target', '')}/{values.get('protocol', 'tcp')}"


def _split(text: str) -> tuple[str, str, str]:
    """Host address, host port and the rest; "" where left out."""
    before, colon, target = text.rpartition(":")
    if not colon:
        return "", "", text
    address, _, host = before.rpartition(":")
    return address, host, target


def _span(text: str, part: str, what: str, *, lowest: int) -> Span:
    first, dash, last = part.partition("-")
    ends = [first, last] if dash else [first]
    if not all(_NUMBER.fullmatch(end) and int(end) <= HIGHEST for end in ends):
        raise _refused(text, part, f"{what} is a number from {lowest} to {HIGHEST}, or a range of them")
    span = Span(int(ends[0]), int(ends[-1]))
    if span.first > span.last:
        raise _refused(text, part, f"the range is reversed; write {span.last}-{span.first}")
    if span.first < lowest or (span.size > 1 and not span.first):
        raise _refused(text, part, "0 is no port; the lowest is 1")
    return span


def _protocol(text: str, protocol: str) -> Protocol:
    lowered = protocol.lower() or "tcp"
    if lowered not in PROTOCOLS:
        raise InvalidParameter(f"invalid proto: {protocol}: {_in(text)} it is none of {', '.join(PROTOCOLS)}")
    return cast(Protocol, lowered)


def _address(text: str, host_ip: str) -> str:
    """In its canonical form; "" stays ""."""
    bare = host_ip[1:-1] if host_ip[:1] == "[" and host_ip[-1:] == "]" else host_ip
    if not bare:
        return ""
    try:
        parsed = ip_address(bare)
    except ValueError:
        raise InvalidParameter(f"invalid IP address: {bare}: {_in(text)} it is no IPv4 or IPv6 address") from None
    if isinstance(parsed, IPv6Address) and (parsed.scope_id is not None or parsed.ipv4_mapped is not None):
        raise InvalidParameter(f"invalid IP address: {bare}: {_in(text)} write a plain IPv4 or IPv6 address")
    return str(parsed)


def _refused(text: str, part: str, why: str) -> InvalidParameter:
    return InvalidParameter(f'invalid port specification: "{part}": {_in(text)} {why}')


def _in(text: str) -> str:
    return f'in "{text}"'
