"""What there is to know of an established TCP connection, as bytes that another host can go on from."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

import msgspec

LARGEST_QUEUE = 64 * 1024 * 1024
"""Bytes of one queue: far above what net.ipv4.tcp_wmem and tcp_rmem allow by default."""
_U16 = Annotated[int, msgspec.Meta(gt=0, lt=1 << 16)]
_U32 = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
_Scale = Annotated[int, msgspec.Meta(ge=-1, le=14)]


class Window(msgspec.Struct, frozen=True):
    """struct tcp_repair_window, include/uapi/linux/tcp.h."""

    snd_wl1: _U32
    snd_wnd: _U32
    max_window: _U32
    rcv_wnd: _U32
    rcv_wup: _U32


class Connection(msgspec.Struct, frozen=True):
    """local, remote: (address, port). The sequence numbers are those after the queues: of the next byte that the peer
    sends, and of the next that the program would write.

    received: arrived, acknowledged and not read. sent: written and sent, not acknowledged. unsent: written only.
    mss: of the handshake. send_scale, receive_scale: window scaling, -1 if it was not agreed. timestamp: the clock of
    the timestamps, 0 if they were not agreed. options: (level, name, value) of socket options that are not the default.
    """

    local: tuple[str, int]
    remote: tuple[str, int]
    receive_sequence: _U32
    send_sequence: _U32
    received: bytes
    sent: bytes
    unsent: bytes
    mss: _U16
    send_scale: _Scale
    receive_scale: _Scale
    selective: bool
    timestamp: _U32
    window: Window
    options: tuple[tuple[int, int, int], ...] = ()

    @property
    def ipv6(self) -> bool:
        return ":" in self.local[0]

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def unpacked(cls, data: bytes) -> Connection:
        """ValueError for what is none: another host's word is not believed."""
        try:
            found = msgspec.msgpack.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise ValueError(f"this is no saved connection: {error}") from None
        for address, port in (found.local, found.remote):
            if not 0 < port < 1 << 16 or ip_address(address).is_unspecified:  # ValueError too
                raise ValueError(f"this is no saved connection: nobody has {address[:64]} port {port}")
        if max(map(len, (found.received, found.sent, found.unsent))) > LARGEST_QUEUE:
            raise ValueError(f"this is no saved connection: a queue has more than {LARGEST_QUEUE} bytes")
        return found
