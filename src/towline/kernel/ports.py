"""Host ports held by bound sockets, so that no other process can take a port that is published.

A published port needs no listener: the firewall translates before the packet reaches a socket. The bound socket only
keeps the port; a filter drops whatever reaches it all the same, as Docker's does until its proxy is ready.

On TCP it shares the port with what others have left in TIME_WAIT (SO_REUSEADDR), and listens: a listener shares with
nobody, so one of others is a conflict, and nobody can bind later (inet_csk_bind_conflict in
net/ipv4/inet_connection_sock.c).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from towline.kernel.sysctl import ProcSysctl
from towline.model.errors import KernelError

_TYPES = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
_SO_ATTACH_FILTER = 26
_FALLBACK_RANGE = (49153, 65535)  # moby libnetwork/portallocator: where the kernel does not tell
_PATIENCE = 0.05
Key = tuple[str, str, int]


class HeldPorts:
    """Works in the network namespace of the calling thread. `hold` and `release` come from one thread."""

    def __init__(self) -> None:
        self._sockets: dict[Key, socket.socket | None] = {}
        self._sysctl = ProcSysctl()

    def hold(self, protocol: str, host_ip: str, port: int) -> None:
        """KernelError with EADDRINUSE if anybody has it (text: who), EADDRNOTAVAIL for an address that is not ours.

        SCTP is only noted where the kernel has no SCTP.
        """
        key = (protocol, host_ip, port)
        if key in self._sockets:
            raise KernelError(errno.EADDRINUSE, _operation(key))
        self._sockets[key] = _bind(key)

    def release(self, protocol: str, host_ip: str, port: int) -> None:
        """Not held is no error."""
        held = self._sockets.pop((protocol, host_ip, port), None)
        if held is not None:
            held.close()

    def holds(self, protocol: str, host_ip: str, port: int) -> bool:
        return (protocol, host_ip, port) in self._sockets

    def ephemeral_range(self) -> tuple[int, int]:
        words = (self._sysctl.read("net/ipv4/ip_local_port_range") or "").split()
        low, high = (int(words[0]), int(words[1])) if len(words) == 2 else _FALLBACK_RANGE
        return (low, high) if 0 < low <= high <= 65535 else _FALLBACK_RANGE

    def reserved(self) -> frozenset[int]:
        """Ports that the operator keeps from automatic use (net.ipv4.ip_local_reserved_ports)."""
        ports: set[int] = set()
        for part in filter(None, (self._sysctl.read("net/ipv4/ip_local_reserved_ports") or "").split(",")):
            low, _, high = part.partition("-")
            ports.update(range(int(low), int(high or low) + 1))
        return frozenset(ports)

    def close(self) -> None:
        for held in self._sockets.values():
            if held is not None:
                held.close()
        self._sockets.clear()


def _operation(key: Key) -> str:
    protocol, host_ip, port = key
    shown = f"[{host_ip}]" if ":" in host_ip else host_ip
    return f"bind host port {shown}:{port}/{protocol}"


def _bind(key: Key) -> socket.socket | None:
    protocol, host_ip, port = key
    kind, number = _TYPES[protocol]
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    try:
        made = socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        if protocol == "sctp":
            return None
        raise KernelError(error.errno or errno.EIO, _operation(key)) from error
    try:
        _occupy(made, family, host_ip, port)
    except BaseException as error:
        made.close()
        if not isinstance(error, OSError):
            raise
        detail = holder_of(protocol, port) if error.errno == errno.EADDRINUSE else ""
        raise KernelError(error.errno or errno.EIO, _operation(key), detail) from error
    return made


def _occupy(made: socket.socket, family: int, host_ip: str, port: int) -> None:
    _drop_everything(made)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listens = made.proto in (0, socket.IPPROTO_TCP) and made.type == socket.SOCK_STREAM
    if listens:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host_ip, port))
    if listens:
        made.listen(1)


def _drop_everything(made: socket.socket) -> None:
    """Classic BPF of one instruction: return 0."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def holder_of(protocol: str, port: int, patience: float = _PATIENCE) -> str:
    """Which process has the port, in words; "" if that cannot be told: another user's, another namespace's, or not
    found in `patience` seconds of work (the caller is the event loop; waiting for a busy processor does not count)."""
    end = time.thread_time() + patience
    inodes = {inode for suffix in ("", "6") for inode in _inodes(f"/proc/thread-self/net/{protocol}{suffix}", port)}
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for process in filter(str.isdecimal, os.listdir("/proc") if wanted else ()):
        for target in _descriptors(process):
            if target in wanted:
                return _in_words(process)
            if time.thread_time() > end:
                return ""
    return ""


def _inodes(table: str, port: int) -> list[str]:
    try:
        lines = Path(table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = (line.split() for line in lines)
    return [row[9] for row in rows if len(row) > 9 and int(row[1].rpartition(":")[2], 16) == port and row[9] != "0"]


def _descriptors(process: str) -> Iterator[str]:
    """What a process's descriptors are; ends early if it does."""
    with suppress(OSError):
        for descriptor in os.scandir(f"/proc/{process}/fd"):
            with suppress(FileNotFoundError):
                yield os.readlink(descriptor.path)


def _in_words(process: str) -> str:
    try:
        name = Path("/proc", process, "comm").read_text(errors="replace").strip()
    except OSError:
        return ""
    return f"held by process {process} ({name})"
