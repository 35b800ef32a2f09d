"""A link's IPv4 and IPv6 settings where they travel in rtnetlink messages (IFLA_AF_SPEC), so that reading links costs
no file under /proc/sys each, and `route_localnet` needs none to be set. The kernel takes no IPv6 setting this way.

Numbers: include/uapi/linux/{if_link,ip,ipv6}.h. IPv4 settings are numbered from 1, IPv6 settings from 0.
"""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

from towline.kernel.netlink import attr, nest, parse_attrs

IFLA_AF_SPEC = 26
_IFLA_INET_CONF = 1
_IFLA_INET6_CONF, _IFLA_INET6_ADDR_GEN_MODE = 2, 8
_ADDR_GEN_MODE_EUI64, _ADDR_GEN_MODE_NONE = b"\x00", b"\x01"
_ROUTE_LOCALNET = 26
_ACCEPT_RA, _DISABLE_IPV6 = 3, 26
_U32 = struct.Struct("=I")
_S32 = struct.Struct("=i")


class Settings(NamedTuple):
    """ipv6_off: switched off, or no IPv6 on the link at all. accept_ra: it believes router advertisements."""

    ipv6_off: bool = False
    accept_ra: bool = False
    route_localnet: bool = False


def settings_attr(*, link_local: bool | None = None, route_localnet: bool | None = None) -> bytes:
    """None: leave as it is. link_local: an automatic IPv6 link-local address made from the MAC, or none; EAFNOSUPPORT
    where the kernel has no IPv6."""
    parts = []
    if route_localnet is not None:
        value = attr(_ROUTE_LOCALNET, _U32.pack(route_localnet))
        parts.append(nest(socket.AF_INET, nest(_IFLA_INET_CONF, value)))
    if link_local is not None:
        mode = _ADDR_GEN_MODE_EUI64 if link_local else _ADDR_GEN_MODE_NONE
        parts.append(nest(socket.AF_INET6, attr(_IFLA_INET6_ADDR_GEN_MODE, mode)))
    return nest(IFLA_AF_SPEC, *parts)


def parse_settings(af_spec: bytes) -> Settings:
    """The payload of IFLA_AF_SPEC. A link that is too small for a protocol (its MTU) has no part for it."""
    families = parse_attrs(af_spec)
    ipv4 = parse_attrs(families.get(socket.AF_INET, b"")).get(_IFLA_INET_CONF, b"")
    ipv6 = parse_attrs(families.get(socket.AF_INET6, b"")).get(_IFLA_INET6_CONF)
    return Settings(
        ipv6_off=ipv6 is None or bool(_value(ipv6, _DISABLE_IPV6)),
        accept_ra=ipv6 is not None and bool(_value(ipv6, _ACCEPT_RA)),
        route_localnet=bool(_value(ipv4, _ROUTE_LOCALNET - 1)),
    )


def _value(values: bytes, position: int) -> int:
    """0 where an older kernel has no such setting."""
    offset = 4 * position
    return int(_S32.unpack_from(values, offset)[0]) if offset + 4 <= len(values) else 0
