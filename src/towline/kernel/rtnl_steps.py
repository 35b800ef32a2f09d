"""Messages with the words for what each does, so that a refusal can name its step."""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from towline.kernel.netlink import Ack, Message, NetlinkSocket
from towline.model.errors import KernelError


class Step(NamedTuple):
    message: Message
    operation: str


def first_refusal(steps: Sequence[Step], acks: Iterable[Ack]) -> KernelError | None:
    """The first refused step as an error; None if all were done. One Ack per step, in order."""
    for step, ack in zip(steps, acks, strict=True):
        if ack.errno:
            return KernelError(ack.errno, step.operation, ack.text)
    return None


def send_steps(sock: NetlinkSocket, steps: Sequence[Step]) -> KernelError | None:
    """All in one send; the first refusal."""
    try:
        return first_refusal(steps, sock.transact([step.message for step in steps]))
    except OSError as error:
        return KernelError(error.errno or errno.EIO, steps[0].operation, error.strerror or "")
