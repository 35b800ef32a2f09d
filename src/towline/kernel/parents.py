"""Links of the host that interfaces of sandboxes are made on: found, or made where they are ours."""

from __future__ import annotations

import errno
from collections.abc import Callable

from towline.kernel import rtnl_codec as codec
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.rtnl_read import LinkReader
from towline.kernel.rtnl_steps import Step, send_steps
from towline.kernel.slave_codec import new_parent
from towline.model.desired import Parent
from towline.model.errors import KernelError

DEAD_ENDS = ("dummy", "ifb")
"""Kinds that lead nowhere: what macvlans on it send to others is dropped. Not every kernel has the first."""


def ensure(
    sock: NetlinkSocket, reader: LinkReader, parent: Parent, free_index: Callable[[], int]
) -> KernelError | None:
    """See `contract.Links.ensure_parent`. free_index: one that no link has, of the range that only we use."""
    try:
        link = reader.bare(parent.name)
    except KernelError as error:
        return error
    if link is None:
        return _make(sock, reader, parent, free_index)
    if not parent.kind or link.alias != parent.alias or link.up:
        return None
    return send_steps(sock, [Step(codec.set_link(link.index, up=True), f"set {parent.name} up")])


def _make(sock: NetlinkSocket, reader: LinkReader, parent: Parent, free_index: Callable[[], int]) -> KernelError | None:
    """Link and alias in one send, so that it is ours whatever happens after."""
    if not parent.kind:
        return KernelError(errno.ENODEV, f"find link {parent.name}")
    try:
        lower = reader.bare(parent.lower) if parent.lower else None
        index = free_index()
    except KernelError as error:
        return error
    except OSError as error:
        return KernelError(error.errno or errno.EIO, "choose a link index")
    if parent.lower and lower is None:
        return KernelError(errno.ENODEV, f"find link {parent.lower}")
    refused: KernelError | None = None
    for kind in DEAD_ENDS if parent.kind == "dummy" else (parent.kind,):
        steps = [
            Step(new_parent(index, parent, lower.index if lower else 0, kind), f"create {kind} link {parent.name}"),
            Step(codec.set_link(index, codec.alias_attr(parent.alias)), f"set alias of {parent.name}"),
            Step(codec.set_link(index, up=True), f"set {parent.name} up"),
        ]
        refused = send_steps(sock, steps)
        if refused is None or refused.errno != errno.EOPNOTSUPP:
            break
    return refused
