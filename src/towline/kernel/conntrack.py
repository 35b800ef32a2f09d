"""The `Flows` contract over ctnetlink: conntrack entries of the daemon's network namespace, removed exactly.

A UDP flow keeps the translation it got with its first packet for as long as packets come, so after an endpoint has gone
(or a port was published anew) its entries send the client's packets to where nobody is. Change the rules first, then
forget: a packet in between makes an entry by the new rules.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from ipaddress import ip_address
from itertools import product

from towline.kernel import conntrack_codec as codec
from towline.kernel.conntrack_codec import Direction, End, Flow, Place, protocol_number
from towline.kernel.netlink import DumpInterrupted, Message, NetlinkSocket
from towline.kernel.rtnl_read import as_kernel_error
from towline.model.errors import KernelError

_DUMP_TRIES = 20
_PLACES: tuple[tuple[Direction, End], ...] = (
    ("original", "source"),
    ("original", "destination"),
    ("reply", "source"),
    ("reply", "destination"),
)
_MANY = 10_000


class CtNetlinkFlows:
    """Works in the network namespace of the thread that makes it.

    Costs: the kernel walks its whole table for every dump (12-20 ms for 262,144 buckets, without Python's lock). So one
    dump serves all addresses, and what it brings is looked through here, 5 us an entry; where entries are many, each
    address takes four dumps that the kernel filters. Without any entry nothing is dumped.
    """

    def __init__(self) -> None:
        self._socket = NetlinkSocket(codec.NETLINK_NETFILTER)

    def close(self) -> None:
        self._socket.close()

    def forget(self, addresses: Sequence[str], *, protocol: str = "", port: int = 0) -> int:
        """See `contract.Flows`. ValueError for an address or protocol name that is none."""
        number = protocol_number(protocol)
        wanted = {ip_address(address).packed for address in addresses}
        count = self._count()
        if not wanted or not count:
            return 0
        found: dict[bytes, Flow] = {}
        for message in _questions(wanted, number, port, filtered=count > _MANY * len(wanted)):
            for body in self._dump(message, "list flows"):
                if not any(address in body for address in wanted):  # much faster than to parse them all
                    continue
                flow = codec.parse_flow(body)
                if flow and flow.ends() & wanted and _is_meant(flow, number, port):
                    found[flow.key] = flow
        return self._delete(list(found.values()))

    def forget_untranslated(self, protocol: str, places: Sequence[tuple[str, int]]) -> int:
        """See `contract.Flows`. ValueError for an address or protocol name that is none."""
        number = protocol_number(protocol)
        wanted = {(ip_address(address).packed, port) for address, port in places}
        if not wanted or not self._count():
            return 0
        found: list[Flow] = []
        for family in dict.fromkeys(_family(address) for address, _ in wanted):
            for body in self._dump(codec.get_flows(family, protocol=number), "list flows"):
                flow = codec.parse_flow(body)
                if flow and flow.original.protocol == number and flow.is_untranslated() and _is_towards(flow, wanted):
                    found.append(flow)
        return self._delete(found)

    def _count(self) -> int:
        with as_kernel_error("count flows"):
            return sum(codec.parse_count(body) for _, body in self._socket.get(codec.get_count()))

    def _dump(self, message: Message, operation: str) -> list[bytes]:
        for _ in range(_DUMP_TRIES):
            try:
                with as_kernel_error(operation):
                    return [body for _, body in self._socket.dump(message)]
            except DumpInterrupted:
                continue
        raise KernelError(errno.EAGAIN, operation, "changed under every one of our reads")

    def _delete(self, flows: Sequence[Flow]) -> int:
        """How many were there to be removed; those that ended by themselves meanwhile are no error."""
        operation = "remove flows"
        with as_kernel_error(operation):
            acks = self._socket.transact([codec.delete_flow(flow) for flow in flows])
        for ack in acks:
            if ack.errno not in (0, errno.ENOENT):
                raise KernelError(ack.errno, operation, ack.text)
        return sum(not ack.errno for ack in acks)


def _questions(wanted: Iterable[bytes], protocol: int, port: int, *, filtered: bool) -> Iterator[Message]:
    port_filter = port if protocol else 0
    if filtered:
        for address, place in product(wanted, _PLACES):
            at = Place(*place, address)
            yield codec.get_flows(_family(address), protocol=protocol, port=port_filter, place=at)
    else:
        for family in dict.fromkeys(map(_family, wanted)):
            yield codec.get_flows(family, protocol=protocol, port=port_filter)


def _family(address: bytes) -> int:
    return socket.AF_INET if len(address) == 4 else socket.AF_INET6


def _is_towards(flow: Flow, places: Collection[tuple[bytes, int]]) -> bool:
    address, port = flow.original.destination, flow.original.port
    return (address, port) in places or (bytes(len(address)), port) in places


def _is_meant(flow: Flow, protocol: int, port: int) -> bool:
    return protocol in (0, flow.original.protocol) and port in (0, flow.original.port)
