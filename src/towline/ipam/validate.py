"""Is the IPAM part of a create request consistent? Order and texts: moby daemon/network.go (docker-api facts 1.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from towline.ipam.prefix import Prefix, format_address, parse_address, parse_interface
from towline.model.errors import InvalidParameter
from towline.model.requests import PoolRequest

_NO_PREFIX = "invalid Prefix"  # how Go's net/netip prints the zero prefix


def validate(requests: Sequence[PoolRequest], ipv4: bool, ipv6: bool) -> None:
    """InvalidParameter that lists everything that is wrong. Entries of IPv6 are skipped when IPv6 is off; those of IPv4
    are checked even when IPv4 is off, as Docker does, and dropped later."""
    wrong = [text for request in requests if ipv6 or ":" not in request.subnet for text in _faults(request)]
    if wrong:
        raise InvalidParameter("invalid network config:\n" + _join(wrong))


def _faults(request: PoolRequest) -> Iterator[str]:
    subnet: Prefix | None = None
    shown = _NO_PREFIX
    if request.subnet:
        subnet, address = parse_interface(request.subnet)
        shown = f"{format_address(address, subnet.v6)}/{subnet.length}"
        if address != subnet.start:
            yield f"invalid subnet {shown}: it should be {subnet}"
    if request.ip_range:
        yield from _range_faults(request.ip_range, subnet, shown)
    if request.gateway and (fault := _address_fault(request.gateway, subnet, shown)):
        yield f"invalid gateway {request.gateway}: {fault}"
    for name, address_text in sorted(request.aux.items()):
        if fault := _address_fault(address_text, subnet, shown):
            yield f"invalid auxiliary address {name}: {fault}"


def _range_faults(text: str, subnet: Prefix | None, shown: str) -> Iterator[str]:
    block, address = parse_interface(text)
    text = f"{format_address(address, block.v6)}/{block.length}"
    if block.v6 != _is_v6(subnet):
        yield f"invalid ip-range {text}: parent subnet is an {_family(subnet)} block"
        return
    if subnet and block.length < subnet.length:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {shown}"
    if address != block.start:
        yield f"invalid ip-range {text}: it should be {block}"
    if subnet is None or not (subnet.holds(block) or block.holds(subnet)):
        yield f"invalid ip-range {text}: parent subnet {shown} doesn't contain ip-range"


def _address_fault(text: str, subnet: Prefix | None, shown: str) -> str:
    """An address that is empty (auxiliary only) or has a zone is in no subnet, as in Go's netip."""
    if not text or "%" in text:
        return f"parent subnet {shown} doesn't contain this address"
    v6, value = parse_address(text)
    if v6 != _is_v6(subnet):
        return f"parent subnet is an {_family(subnet)} block"
    if subnet is None or not subnet.start <= value <= subnet.end:
        return f"parent subnet {shown} doesn't contain this address"
    return ""


def _is_v6(subnet: Prefix | None) -> bool:
    return subnet is not None and subnet.v6


def _family(subnet: Prefix | None) -> str:
    return "IPv6" if _is_v6(subnet) else "IPv4"


def _join(texts: Sequence[str]) -> str:
    """moby daemon/internal/multierror: one error is its text, several are a list."""
    return texts[0] if len(texts) == 1 else "\n".join(f"* {text}" for text in texts)
