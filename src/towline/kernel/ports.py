"""Host ports held by bound sockets, so that no other process can take a port that is published.

A published port needs no listener: the firewall translates before the packet reaches a socket. The bound socket only
keeps the port; a filter drops whatever reaches it all the same, as Docker's does until its proxy is ready.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from pathlib import Path

from towline.kernel.sysctl import ProcSysctl
from towline.model.errors import KernelError

_TYPES = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0), "sctp": (socket.SOCK_STREAM, 132)}
_SO_ATTACH_FILTER = 26
_FALLBACK_RANGE = (49153, 65535)  # moby libnetwork/portallocator: where the kernel does not tell
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
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _drop_everything(made)
        made.bind((host_ip, port))
    except OSError as error:
        made.close()
        detail = holder_of(protocol, port) if error.errno == errno.EADDRINUSE else ""
        raise KernelError(error.errno or errno.EIO, _operation(key), detail) from error
    return made


def _drop_everything(made: socket.socket) -> None:
    """Classic BPF of one instruction: return 0."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    made.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program)))


def holder_of(protocol: str, port: int) -> str:
    """Which process has the port, in words; "" if that cannot be told (another user's, another namespace's)."""
    inodes = {inode for suffix in ("", "6") for inode in _inodes(f"/proc/thread-self/net/{protocol}{suffix}", port)}
    for entry in os.scandir("/proc") if inodes else ():
        if entry.name.isdecimal() and _has_socket(entry.path, inodes):
            name = Path(entry.path, "comm").read_text(errors="replace").strip()
            return f"held by process {entry.name} ({name})"
    return ""


def _inodes(table: str, port: int) -> list[str]:
    try:
        lines = Path(table).read_text().splitlines()[1:]
    except OSError:
        return []
    rows = (line.split() for line in lines)
    return [row[9] for row in rows if len(row) > 9 and int(row[1].rpartition(":")[2], 16) == port and row[9] != "0"]


def _has_socket(process: str, inodes: set[str]) -> bool:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    try:
        return any(os.readlink(entry.path) in wanted for entry in os.scandir(f"{process}/fd"))
    except OSError:
        return False
