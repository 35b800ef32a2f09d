"""Interfaces leave a sandbox: pairs by their host ends, others from inside."""

from __future__ import annotations

from collections.abc import Sequence

from towline.kernel.contract import Sandboxes
from towline.model.desired import Interface
from towline.model.errors import KernelError


def unplug(sandboxes: Sandboxes, netns: str, interfaces: Sequence[Interface]) -> list[KernelError]:
    """What the kernel refused. Absent is no error. NamespaceGone and KernelError where nothing could be tried."""
    pairs = [interface.host_name for interface in interfaces if interface.slave is None]
    inside = [interface for interface in interfaces if interface.slave is not None]
    answers = sandboxes.leave(netns, pairs) if pairs else []
    answers = [*answers, *(sandboxes.remove(netns, inside) if inside else [])]
    return [error for error in answers if error is not None]
