"""Docker's EndpointSettings as clients send them (moby api/types/network/endpoint.go)."""

from __future__ import annotations

import msgspec

from towline.api.goaddr import BadAddress, parse_addr, parse_mac
from towline.api.gojson.decode import BOOL, INT, STRING, Map, Slice, Struct, Text
from towline.api.versions import Version
from towline.model.endpoint import ANYTHING, EndpointConfig
from towline.model.errors import InvalidParameter

_MAC_SINCE: Version = (1, 54)
_PRIORITY_SINCE: Version = (1, 48)
_INT64 = 2**63


class IpamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    ipv4: str | None = msgspec.field(default=None, name="IPv4Address")
    ipv6: str | None = msgspec.field(default=None, name="IPv6Address")
    link_local: tuple[str, ...] | None = msgspec.field(default=None, name="LinkLocalIPs")


class EndpointSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    """From NetworkID on: what the daemon says of an endpoint; read, checked and not heard."""

    ipam: IpamSettings | None = msgspec.field(default=None, name="IPAMConfig")
    links: tuple[str, ...] | None = None
    aliases: tuple[str, ...] | None = None
    driver_opts: dict[str, str] | None = None
    gw_priority: int | None = None
    mac_address: str | None = None
    network_id: str | None = msgspec.field(default=None, name="NetworkID")
    endpoint_id: str | None = msgspec.field(default=None, name="EndpointID")
    gateway: str | None = None
    ip_address: str | None = msgspec.field(default=None, name="IPAddress")
    prefix_len: int | None = msgspec.field(default=None, name="IPPrefixLen")
    ipv6_gateway: str | None = msgspec.field(default=None, name="IPv6Gateway")
    ipv6_address: str | None = msgspec.field(default=None, name="GlobalIPv6Address")
    ipv6_prefix_len: int | None = msgspec.field(default=None, name="GlobalIPv6PrefixLen")
    dns_names: tuple[str, ...] | None = msgspec.field(default=None, name="DNSNames")


class ConnectRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    container: str | None = None
    endpoint_config: EndpointSettings | None = None


class DisconnectRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="pascal"):
    container: str | None = None
    force: bool | None = None


_ADDR = Text("netip.Addr", parse_addr)
_SETTINGS = Struct(
    "network.EndpointSettings",
    {
        "IPAMConfig": Struct(
            "network.EndpointIPAMConfig", {"IPv4Address": _ADDR, "IPv6Address": _ADDR, "LinkLocalIPs": Slice(_ADDR)}
        ),
        "Links": Slice(STRING),
        "Aliases": Slice(STRING),
        "DriverOpts": Map(STRING),
        "GwPriority": INT,
        "NetworkID": STRING,
        "EndpointID": STRING,
        "Gateway": _ADDR,
        "IPAddress": _ADDR,
        "MacAddress": Text("network.HardwareAddr", parse_mac),
        "IPPrefixLen": INT,
        "IPv6Gateway": _ADDR,
        "GlobalIPv6Address": _ADDR,
        "GlobalIPv6PrefixLen": INT,
        "DNSNames": Slice(STRING),
    },
)
GO_CONNECT = Struct("network.ConnectRequest", {"Container": STRING, "EndpointConfig": _SETTINGS})
GO_DISCONNECT = Struct("network.DisconnectRequest", {"Container": STRING, "Force": BOOL})


def endpoint_config(settings: EndpointSettings | None, version: Version) -> EndpointConfig:
    """What is asked for. MacAddress is heard from API 1.54 on, GwPriority from 1.48 on (moby
    daemon/server/router/network/network_routes.go). InvalidParameter for a malformed address."""
    if settings is None:
        return ANYTHING
    ipam = settings.ipam or IpamSettings()
    try:
        mac = parse_mac(settings.mac_address or "")
        for unheard in (settings.gateway, settings.ip_address, settings.ipv6_gateway, settings.ipv6_address):
            parse_addr(unheard or "")
        return EndpointConfig(
            ipv4=parse_addr(ipam.ipv4 or ""),
            ipv6=parse_addr(ipam.ipv6 or ""),
            link_local=tuple(map(parse_addr, ipam.link_local or ())),
            links=settings.links or (),
            aliases=settings.aliases or (),
            mac=mac if version >= _MAC_SINCE else "",
            driver_opts=settings.driver_opts or {},
            gw_priority=_go_int(settings.gw_priority or 0) if version >= _PRIORITY_SINCE else 0,
        )
    except BadAddress as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None


def _go_int(number: int) -> int:
    if -_INT64 <= number < _INT64:
        return number
    place = "Go struct field ConnectRequest.EndpointConfig.GwPriority of type int"
    raise InvalidParameter(f"invalid JSON: json: cannot unmarshal number {number} into {place}")
