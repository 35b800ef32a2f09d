"""The netlink wire, shared by rtnetlink and nfnetlink: attributes, messages, acknowledgements, dumps.

The kernel works on a request inside `send` and has queued every answer before it returns, so nothing here ever waits:
sockets are non-blocking, and an empty queue while an answer is missing is an error, not a reason to wait.
Source: Documentation/userspace-api/netlink/intro.rst, net/netlink/af_netlink.c, net/netfilter/nfnetlink.c.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_REPLACE = 0x100
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800

NLMSG_ERROR = 2
NLMSG_DONE = 3

_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_NLMSGERR_ATTR_OFFS = 2
_NLA_F_NESTED = 0x8000
_NLA_TYPE_MASK = 0x3FFF

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

_HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_ERRNO = struct.Struct("=i")
_U32 = struct.Struct("=I")

_RECEIVE = 256 * 1024
_BUFFER = 16 * 1024 * 1024
_SEND_BYTES = 160 * 1024
_SEND_MESSAGES = 2048


class Message(NamedTuple):
    """A request. flags: without NLM_F_REQUEST, NLM_F_ACK and NLM_F_DUMP, which the socket adds."""

    type: int
    flags: int
    body: bytes


class Ack(NamedTuple):
    """errno: positive, 0 = done. text: the kernel's extended text, with the offset of a refused attribute; or ""."""

    errno: int
    text: str


class DumpInterrupted(Exception):
    """The kernel's tables changed under the dump (NLM_F_DUMP_INTR): it may be inconsistent, ask again."""


class Overrun(OSError):
    """Answers were lost, because the receive buffer was full or memory was short (errno ENOBUFS)."""

    def __init__(self) -> None:
        super().__init__(errno.ENOBUFS, "netlink answers were lost")


def attr(kind: int, data: bytes) -> bytes:
    """One attribute, padded to four bytes. ValueError beyond 65,531 bytes of data."""
    length = 4 + len(data)
    if length > 0xFFFF:
        raise ValueError(f"netlink attribute {kind} of {length} bytes is longer than 65535")
    return _ATTR.pack(length, kind) + data + b"\0" * (-length & 3)


def nest(kind: int, *children: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attr(kind | _NLA_F_NESTED, b"".join(children))


def iter_attrs(data: bytes | memoryview) -> Iterator[tuple[int, bytes]]:
    """Each attribute's (type without flags, payload) in order; stops quietly at the first malformed one."""
    data = bytes(data)
    offset, end = 0, len(data)
    while end - offset >= 4:
        length, kind = _ATTR.unpack_from(data, offset)
        if length < 4 or length > end - offset:
            return
        yield kind & _NLA_TYPE_MASK, data[offset + 4 : offset + length]
        offset += length + 3 & ~3


def parse_attrs(data: bytes | memoryview) -> dict[int, bytes]:
    """Type (without flags) -> payload; of a repeated type the last one wins."""
    return dict(iter_attrs(data))


class Part(NamedTuple):
    """One message as received. port: the port id it is about (the requester's, in notifications)."""

    type: int
    flags: int
    sequence: int
    port: int
    body: bytes


def iter_messages(data: bytes | memoryview) -> Iterator[Part]:
    """The messages of one datagram; stops quietly at the first malformed one."""
    view = memoryview(data)
    offset, end = 0, len(view)
    while end - offset >= 16:
        length, kind, flags, sequence, port = _HEADER.unpack_from(view, offset)
        if length < 16 or length > end - offset:
            return
        yield Part(kind, flags, sequence, port, bytes(view[offset + 16 : offset + length]))
        offset += length + 3 & ~3


def parse_ack(flags: int, body: bytes) -> Ack:
    """The payload of NLMSG_ERROR."""
    if len(body) < 20:
        return Ack(errno.EBADMSG, "short acknowledgement")
    code = -_ERRNO.unpack_from(body)[0]
    echoed = 16 if flags & _NLM_F_CAPPED or not code else _U32.unpack_from(body, 4)[0]
    return Ack(code, _extended_text(body[4 + (echoed + 3 & ~3) :]) if flags & _NLM_F_ACK_TLVS else "")


def _extended_text(data: bytes) -> str:
    attrs = parse_attrs(data)
    text = attrs.get(_NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode("utf-8", "replace")
    offset = attrs.get(_NLMSGERR_ATTR_OFFS, b"")
    if len(offset) != 4:
        return text
    return f"{text}, attribute at offset {_U32.unpack(offset)[0]}".removeprefix(", ")


def _encode(message: Message, flags: int, sequence: int) -> bytes:
    padding = -len(message.body) & 3
    header = _HEADER.pack(16 + len(message.body), message.type, message.flags | flags | NLM_F_REQUEST, sequence, 0)
    return header + message.body + b"\0" * padding


def _chunks(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    start = size = 0
    for i, message in enumerate(messages):
        length = 20 + len(message.body)
        if i > start and (size + length > _SEND_BYTES or i - start >= _SEND_MESSAGES):
            yield messages[start:i]
            start, size = i, 0
        size += length
    if len(messages) > start:
        yield messages[start:]


class NetlinkSocket:
    """A request socket. It belongs to the network namespace of the thread that opens it, and stays there.

    For one thread at a time. Answers to requests that were abandoned by an exception are recognised by their sequence
    number and dropped.
    """

    def __init__(self, protocol: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
        try:
            self._configure()
        except OSError:
            self._socket.close()
            raise
        self.portid: int = self._socket.getsockname()[0]
        self._sequence = 1
        self._buffer = bytearray(_RECEIVE)

    def _configure(self) -> None:
        sock = self._socket
        sock.setblocking(False)
        force_buffer(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF, _BUFFER)
        force_buffer(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF, _BUFFER)
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK, _NETLINK_GET_STRICT_CHK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        sock.bind((0, 0))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def transact(self, messages: Sequence[Message]) -> list[Ack]:
        """Send all in one go and answer one Ack per message, in their order.

        Beyond 160 KiB or 2,048 messages it takes several sends. The kernel goes on after a refused message.
        Raises Overrun if acknowledgements were lost, OSError if the send itself fails.
        """
        acks: list[Ack] = []
        for chunk in _chunks(messages):
            acks += self._exchange(chunk)
        return acks

    def _exchange(self, chunk: Sequence[Message]) -> list[Ack]:
        first = self._reserve(len(chunk))
        self._socket.send(b"".join([_encode(message, NLM_F_ACK, first + i) for i, message in enumerate(chunk)]))
        found: dict[int, Ack] = {}
        while len(found) < len(chunk):
            for part in self._receive():
                if part.type == NLMSG_ERROR and 0 <= part.sequence - first < len(chunk):
                    found[part.sequence] = parse_ack(part.flags, part.body)
        return [found[first + i] for i in range(len(chunk))]

    def batch(self, begin: Message, messages: Sequence[Message], end: Message) -> list[Ack]:
        """One nfnetlink transaction in one send: all of it or nothing is done. One Ack per inner message, in order.

        If any Ack has an errno, nothing was done; ECANCELED marks messages that the kernel did not look at. Raises
        OSError (errno and text of the kernel) if the transaction as a whole is refused: EPERM, EOPNOTSUPP, ENOMEM, a
        failed commit.
        """
        opening = self._reserve(len(messages) + 2)
        encoded = [_encode(begin, 0, opening)]
        encoded += [_encode(message, NLM_F_ACK, opening + 1 + i) for i, message in enumerate(messages)]
        encoded.append(_encode(end, 0, opening + 1 + len(messages)))
        self._socket.send(b"".join(encoded))
        found = self._drain_acks()
        if opening in found:
            raise OSError(found[opening].errno, found[opening].text or os.strerror(found[opening].errno))
        missing = Ack(errno.ECANCELED, "")
        return [found.get(opening + 1 + i, missing) for i in range(len(messages))]

    def _drain_acks(self) -> dict[int, Ack]:
        found: dict[int, Ack] = {}
        with suppress(BlockingIOError):
            while True:
                for part in self._datagram():
                    if part.type == NLMSG_ERROR:
                        found[part.sequence] = parse_ack(part.flags, part.body)
        return found

    def dump(self, message: Message) -> list[tuple[int, bytes]]:
        """(message type, body) of each part of a multipart answer.

        Raises DumpInterrupted, after the whole dump was read, or OSError with the kernel's errno.
        """
        sequence = self._reserve(1)
        self._socket.send(_encode(message, NLM_F_DUMP, sequence))
        parts: list[tuple[int, bytes]] = []
        interrupted = False
        while True:
            for part in self._receive():
                if part.sequence != sequence:
                    continue
                interrupted |= bool(part.flags & NLM_F_DUMP_INTR)
                if part.type == NLMSG_ERROR:
                    _raise(parse_ack(part.flags, part.body))
                elif part.type == NLMSG_DONE:
                    _raise(_parse_done(part))
                    if interrupted:
                        raise DumpInterrupted
                    return parts
                else:
                    parts.append((part.type, part.body))

    def holds(self, message: Message, wanted: Callable[[bytes], bool]) -> bool:
        """Whether a part of the dump is wanted. The rest stays unread, so this is the socket's last request."""
        sequence = self._reserve(1)
        self._socket.send(_encode(message, NLM_F_DUMP, sequence))
        while True:
            for part in self._receive():
                if part.type in (NLMSG_ERROR, NLMSG_DONE):
                    _raise(_parse_done(part) if part.type == NLMSG_DONE else parse_ack(part.flags, part.body))
                    return False
                if part.sequence == sequence and wanted(part.body):
                    return True

    def get(self, message: Message) -> list[tuple[int, bytes]]:
        """Ask for one object: (message type, body) of what comes before the acknowledgement. OSError if refused."""
        sequence = self._reserve(1)
        self._socket.send(_encode(message, NLM_F_ACK, sequence))
        parts: list[tuple[int, bytes]] = []
        while True:
            for part in self._receive():
                if part.sequence != sequence:
                    continue
                if part.type == NLMSG_ERROR:
                    _raise(parse_ack(part.flags, part.body))
                    return parts
                parts.append((part.type, part.body))

    def _reserve(self, count: int) -> int:
        """The first of `count` consecutive sequence numbers."""
        first = self._sequence if self._sequence + count < 1 << 32 else 1
        self._sequence = first + count
        return first

    def _receive(self) -> list[Part]:
        try:
            return self._datagram()
        except BlockingIOError:
            raise Overrun from None

    def _datagram(self) -> list[Part]:
        try:
            length = self._socket.recv_into(self._buffer, 0, socket.MSG_TRUNC)
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise Overrun from None
            raise
        if length > len(self._buffer):
            raise OSError(errno.EMSGSIZE, f"netlink answer of {length} bytes")
        return list(iter_messages(memoryview(self._buffer)[:length]))


def force_buffer(sock: socket.socket, forced: int, plain: int, size: int) -> None:
    """Set a socket buffer beyond the system's limit, or up to it where that is not allowed."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, plain, size)


def _parse_done(part: Part) -> Ack:
    if len(part.body) < 4:
        return Ack(0, "")
    code = -_ERRNO.unpack_from(part.body)[0]
    return Ack(max(code, 0), _extended_text(part.body[4:]) if part.flags & _NLM_F_ACK_TLVS else "")


def _raise(ack: Ack) -> None:
    if ack.errno:
        raise OSError(ack.errno, ack.text or os.strerror(ack.errno))
