"""Telling the neighbours where addresses are now: gratuitous ARP and unsolicited neighbour advertisements.

RFC 5227 (announcement as request; some stacks believe only the reply, so both are sent), RFC 4861 7.2.6 (override flag,
to all nodes, hop limit 255). Pure frames, and the sending of them from a thread inside the sandbox's namespace.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_interface

from towline.kernel.veth_codec import link_local
from towline.model.desired import Interface, Row
from towline.model.errors import KernelError

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_ADVERTISEMENT = struct.Struct("!BBHI16sBB6s")
_ETH_P_IP, _ETH_P_ARP, _ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
_ARP_REQUEST, _ARP_REPLY = 1, 2
_EVERYBODY = b"\xff" * 6
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ALL_NODES = IPv6Address("ff02::1").packed
_ICMPV6, _NEIGHBOUR_ADVERTISEMENT, _OVERRIDE, _TARGET_MAC = 58, 136, 1 << 29, 2


_LAYER_3 = ("l3", "l3s")
"""Modes of ipvlan without any ARP and neighbour discovery, in which the kernel refuses frames."""


def frames(interface: Interface, mac: str = "") -> list[bytes]:
    """What announces all addresses of an interface, the automatic link-local one too where it has IPv6. mac: the one
    that it really has, where that is its parent's."""
    cidrs = dict.fromkeys(interface.addresses)
    if not interface.ipv6_off:
        cidrs[link_local(interface.mac)] = None
    return _told(mac or interface.mac, cidrs)


def frames_of(row: Row) -> list[bytes]:
    """What announces the addresses of an endpoint on another host, in its place."""
    return _told(row.mac, row.addresses)


def _told(text: str, addresses: Iterable[str]) -> list[bytes]:
    mac = bytes.fromhex(text.replace(":", ""))
    found: list[bytes] = []
    for each in addresses:
        address = ip_interface(each).ip
        if isinstance(address, IPv4Address):
            found += [_arp(mac, address, _ARP_REQUEST), _arp(mac, address, _ARP_REPLY)]
        else:
            found.append(_advertisement(mac, address))
    return found


def send(interface: Interface, close: Callable[[socket.socket], object]) -> None:
    """From a thread inside the namespace; never waits. close: called with the packet socket instead of closing it here,
    because that takes the kernel an RCU grace period (16 ms). KernelError: ENODEV, ENETDOWN, ENOBUFS."""
    if interface.slave is not None and interface.slave.mode in _LAYER_3:
        return
    operation = f"announce addresses of {interface.name}"
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0)
    try:
        sock.bind((interface.name, 0))
        mac = "" if interface.slave is None else sock.getsockname()[4].hex(":")
        for frame in frames(interface, mac):
            sock.send(frame)
    except OSError as error:
        raise KernelError(error.errno or errno.EIO, operation) from error
    finally:
        close(sock)


def _arp(mac: bytes, address: IPv4Address, operation: int) -> bytes:
    target = b"\0" * 6 if operation == _ARP_REQUEST else _EVERYBODY
    head = _ETHERNET.pack(_EVERYBODY, mac, _ETH_P_ARP)
    return head + _ARP.pack(1, _ETH_P_IP, 6, 4, operation, mac, address.packed, target, address.packed)


def _advertisement(mac: bytes, address: IPv6Address) -> bytes:
    source = address.packed
    draft = _ADVERTISEMENT.pack(_NEIGHBOUR_ADVERTISEMENT, 0, 0, _OVERRIDE, source, _TARGET_MAC, 1, mac)
    pseudo = source + _ALL_NODES + struct.pack("!II", len(draft), _ICMPV6)
    body = draft[:2] + struct.pack("!H", checksum(pseudo + draft)) + draft[4:]
    head = _ETHERNET.pack(_ALL_NODES_MAC, mac, _ETH_P_IPV6)
    return head + _IPV6.pack(6 << 28, len(body), _ICMPV6, 255, source, _ALL_NODES) + body


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
