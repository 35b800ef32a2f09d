"""Removing links, the slow part of the kernel: each bridge holds the RTNL lock for one or two RCU grace periods.

Several links go at once by IFLA_GROUP: put them into a group that nothing else is in, delete the group. That halves the
time for bridges and divides it by 25 for veths. A group is kept small because the lock is held for all of it, and every
other network change on this machine waits.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator, Mapping, Sequence

from towline.kernel import rtnl_codec as codec
from towline.kernel.netlink import Ack, NetlinkSocket
from towline.kernel.rtnl_read import LinkReader
from towline.model.errors import KernelError

GROUP_SIZE = 16
# Groups of others have small numbers, given by hand (/etc/iproute2/group): a random one of 31 bits meets none of them;
# to look first would mean to dump all links, which takes the kernel milliseconds where there are thousands.
_FIRST_GROUP, _LAST_GROUP = 1 << 24, (1 << 31) - 1


class Unlinker:
    def __init__(self, sock: NetlinkSocket, reader: LinkReader) -> None:
        self._socket = sock
        self._reader = reader

    def remove(self, names: Sequence[str]) -> list[KernelError | None]:
        """Per name None once the link is gone or if it was never there. The refusal's errno, or EBUSY if the kernel
        accepted the request and the link is still there. OSError or KernelError if it could not be asked."""
        return self.delete(names, {name: link.index for name in names if (link := self._reader.bare(name))})

    def delete(self, names: Sequence[str], indexes: Mapping[str, int]) -> list[KernelError | None]:
        """Like `remove`, where the ifindexes of those that are there are known."""
        refusals: dict[int, Ack] = {}
        for chunk in _chunks(list(indexes.values()), GROUP_SIZE):
            refusals.update(self._delete(chunk))
        left = self._still_there(list(indexes.values()))
        return [_leftover(name, indexes.get(name), left, refusals) for name in names]

    def _delete(self, indexes: Sequence[int]) -> dict[int, Ack]:
        if len(indexes) > 1 and self._delete_group(indexes):
            return {}
        acks = self._socket.transact([codec.delete_link(index) for index in indexes])
        return {index: ack for index, ack in zip(indexes, acks, strict=True) if ack.errno}

    def _delete_group(self, indexes: Sequence[int]) -> bool:
        """False if the kernel refused: one member is of a kind that cannot be deleted, or all are gone."""
        group = _FIRST_GROUP + secrets.randbelow(_LAST_GROUP - _FIRST_GROUP)
        joins = [codec.set_link(index, codec.group_attr(group)) for index in indexes]
        return not self._socket.transact([*joins, codec.delete_group(group)])[-1].errno

    def _still_there(self, indexes: Sequence[int]) -> set[int]:
        acks = self._socket.transact([codec.get_link(index=index) for index in indexes])
        return {index for index, ack in zip(indexes, acks, strict=True) if ack.errno != errno.ENODEV}


def _leftover(name: str, index: int | None, left: set[int], refusals: dict[int, Ack]) -> KernelError | None:
    if index is None or index not in left:
        return None
    refusal = refusals.get(index, Ack(errno.EBUSY, ""))
    return KernelError(refusal.errno, f"remove link {name}", refusal.text)


def _chunks(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
