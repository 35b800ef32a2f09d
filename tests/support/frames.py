"""Frames made by hand, and an ear on a wire that hears them."""

from __future__ import annotations

import select
import socket
import struct
from ipaddress import ip_address

from tests.support.netns import Namespace

ARP, IPV4, IPV6, LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
BROADCAST = "ff:ff:ff:ff:ff:ff"
_ETH_P_ALL = 3
_VLAN = b"\x81\0"
PATIENCE, SILENCE = 5.0, 0.05


class Wire:
    """A packet socket on one interface of a namespace: sends frames as they are, hears every frame that comes in."""

    def __init__(self, ns: Namespace, link: str) -> None:
        self._socket = ns.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        ns.call(self._socket.bind, (link, _ETH_P_ALL))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def send(self, frame: bytes) -> None:
        self._socket.send(frame)

    def hears(self, frame: bytes, patience: float = PATIENCE) -> bool:
        """Has this very frame come in, padded or not? Waits a moment for it. (A VLAN tag is taken off before.)"""
        expected = frame[:12] + frame[16:] if frame[12:14] == _VLAN else frame
        while select.select([self._socket], [], [], patience)[0]:
            data, (_, _, kind, *_) = self._socket.recvfrom(65536)
            if kind != socket.PACKET_OUTGOING and data.startswith(expected):
                return True
        return False


def ether(source: str, target: str, kind: int, payload: bytes) -> bytes:
    return _mac(target) + _mac(source) + struct.pack("!H", kind) + payload


def vlan(tag: int, frame: bytes) -> bytes:
    return frame[:12] + struct.pack("!HH", 0x8100, tag) + frame[12:]


def arp(sender_mac: str, sender: str, target: str, *, reply: bool = False) -> bytes:
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, 2 if reply else 1)
    return head + _mac(sender_mac) + ip_address(sender).packed + bytes(6) + ip_address(target).packed


def udp(source: str, target: str, port: int = 9) -> bytes:
    return ip(source, target, 17, struct.pack("!HHHH", 1024, port, 8, 0))


def syn(source: str, target: str, port: int) -> bytes:
    """A TCP packet that opens a connection."""
    head = struct.pack("!HHIIBBHHH", 1024, port, 7, 0, 5 << 4, 2, 512, 0, 0)
    pseudo = ip_address(source).packed + ip_address(target).packed + struct.pack("!HH", 6, len(head))
    return ip(source, target, 6, head[:16] + struct.pack("!H", checksum(pseudo + head)) + head[18:])


def ip(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    a, b = ip_address(source).packed, ip_address(target).packed
    if len(a) == 16:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + a + b + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 0, 0, 64, protocol, 0) + a + b
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def neighbour_advert(source: str, target: str, about: str, mac: str) -> bytes:
    body = struct.pack("!I", 0x60000000) + ip_address(about).packed + b"\x02\x01" + _mac(mac)
    return _icmp6(source, target, 136, body)


def neighbour_solicit(source: str, target: str, about: str) -> bytes:
    return _icmp6(source, target, 135, bytes(4) + ip_address(about).packed)


def router_advert(source: str, target: str) -> bytes:
    return _icmp6(source, target, 134, struct.pack("!BBHII", 64, 0, 1800, 0, 0))


def redirect(source: str, target: str, about: str) -> bytes:
    return _icmp6(source, target, 137, bytes(4) + ip_address(source).packed + ip_address(about).packed)


def behind_options(packet: bytes) -> bytes:
    """The same IPv6 packet with an empty hop-by-hop header before its payload."""
    options = bytes((packet[6], 0, 1, 4, 0, 0, 0, 0))
    length = struct.pack("!H", len(packet) - 40 + len(options))
    return packet[:4] + length + b"\0" + packet[7:40] + options + packet[40:]


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _icmp6(source: str, target: str, kind: int, body: bytes) -> bytes:
    message = struct.pack("!BBH", kind, 0, 0) + body
    pseudo = ip_address(source).packed + ip_address(target).packed + struct.pack("!II", len(message), 58)
    return ip(source, target, 58, message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:])


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
