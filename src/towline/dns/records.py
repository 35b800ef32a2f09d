"""What the names of a network are made of."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from towline.dns import wire
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint

Named = Endpoint | Peer


class Owner:
    """What one name stands for: complete A and AAAA records, owned by the question's name, without duplicates."""

    __slots__ = ("_members", "a", "aaaa")

    def __init__(self) -> None:
        self._members: dict[str, tuple[bytes, bytes]] = {}
        self.a: tuple[bytes, ...] = ()
        self.aaaa: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, records: Iterable[tuple[bytes, bytes]]) -> Owner:
        """One that stays as it is."""
        owner = cls()
        owner._members = {str(at): pair for at, pair in enumerate(records)}
        owner._collect()
        return owner

    def put(self, member: str, a: bytes, aaaa: bytes) -> None:
        self._members[member] = (a, aaaa)
        self._collect()

    def discard(self, member: str) -> bool:
        """True if nothing is left."""
        self._members.pop(member, None)
        self._collect()
        return not self._members

    def _collect(self) -> None:
        self.a = tuple(dict.fromkeys(a for a, _ in self._members.values() if a))
        self.aaaa = tuple(dict.fromkeys(aaaa for _, aaaa in self._members.values() if aaaa))


def address_record(cidr: str) -> bytes:
    """b"" for ""."""
    return wire.address_record(ip_address(bare(cidr)).packed) if cidr else b""


def is_address(cidr: str) -> bool:
    try:
        ip_address(bare(cidr))
    except ValueError:
        return False
    return "%" not in cidr


def bare(cidr: str) -> str:
    return cidr.partition("/")[0]
