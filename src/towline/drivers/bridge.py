"""The bridge driver: one Linux bridge per network, its gateway addresses, and its firewall intent.

Options and texts: moby daemon/libnetwork/drivers/bridge/labels.go, bridge_linux.go.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Literal, cast, get_args

import msgspec

from towline.drivers.contract import Attachment, SkipGateways
from towline.drivers.endpoint import DEFAULT_PREFIX, interface_sysctls
from towline.drivers.endpoint import PREFIX as IFACE_PREFIX
from towline.drivers.options import address_option, bad_value, bool_option, int_option
from towline.model.desired import (
    Bridge,
    Desired,
    FamilyRules,
    GatewayMode,
    Interface,
    NetworkRules,
    endpoint_alias,
    network_alias,
    stable_mac,
)
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, Forbidden, InvalidParameter
from towline.model.network import Network, Pool
from towline.model.view import View

PREFIX = "com.docker.network.bridge."
NAME = PREFIX + "name"
MASQUERADE = PREFIX + "enable_ip_masquerade"
ICC = PREFIX + "enable_icc"
INHIBIT_IPV4 = PREFIX + "inhibit_ipv4"
HOST_BINDING = PREFIX + "host_binding_ipv4"
DEFAULT_BRIDGE = PREFIX + "default_bridge"
GATEWAY_MODE4 = PREFIX + "gateway_mode_ipv4"
GATEWAY_MODE6 = PREFIX + "gateway_mode_ipv6"
TRUSTED = PREFIX + "trusted_host_interfaces"
MTU = "com.docker.network.driver.mtu"
HOST_IPV4 = "com.docker.network.host_ipv4"
HOST_IPV6 = "com.docker.network.host_ipv6"

_MODES = get_args(GatewayMode)
_NAME_MAX = 15  # IFNAMSIZ - 1
_MTU_MIN, _MTU_MAX = 68, 65535  # net/bridge/br_device.c: ETH_MIN_MTU, ETH_MAX_MTU
_MTU_MIN_IPV6 = 1280  # RFC 8200, section 5


class BridgeOptions(msgspec.Struct, frozen=True):
    """The options of docker-api facts 5.1, typed. name "": made from the id. mtu 0: the kernel's default."""

    name: str
    masquerade: bool
    icc: bool
    inhibit_ipv4: bool
    host_binding: str
    mode4: GatewayMode
    mode6: GatewayMode
    mtu: int
    host_ipv4: str
    host_ipv6: str
    trusted: tuple[str, ...]


def parse_options(options: dict[str, str]) -> BridgeOptions:
    """Raises InvalidParameter with Docker's text for the first option that is wrong."""
    return _parsed(tuple(options.items()))


@lru_cache(maxsize=256)
def _parsed(items: tuple[tuple[str, str], ...]) -> BridgeOptions:
    """They are asked for several times in each join of an endpoint."""
    options = dict(items)
    bool_option(options, DEFAULT_BRIDGE, False)
    return BridgeOptions(
        name=options.get(NAME, ""),
        mtu=_mtu(options),
        masquerade=bool_option(options, MASQUERADE, True),
        icc=bool_option(options, ICC, True),
        inhibit_ipv4=bool_option(options, INHIBIT_IPV4, False),
        host_binding=address_option(options, HOST_BINDING),
        mode4=_mode(options, GATEWAY_MODE4),
        mode6=_mode(options, GATEWAY_MODE6),
        host_ipv4=address_option(options, HOST_IPV4),
        host_ipv6=address_option(options, HOST_IPV6),
        trusted=tuple(filter(None, options.get(TRUSTED, "").split(":"))),
    )


def _mtu(options: dict[str, str]) -> int:
    mtu = int_option(options, MTU, 0)
    if mtu < 0:
        raise InvalidParameter(f"invalid MTU number: {mtu}")
    return mtu


def _mode(options: dict[str, str], key: str) -> GatewayMode:
    text = options.get(key) or "nat"
    if text not in _MODES:
        raise bad_value(key, text, f"unknown gateway mode {text}")
    return cast(GatewayMode, text)


def check_link_name(name: str) -> None:
    """The kernel's dev_valid_name, with its errors as Docker passes them on, said in words. Also refused: what
    would make the firewall's listing unreadable to `nft -f` (there a final "*" is a wildcard, a quote ends the name),
    and "%", which the kernel takes for a pattern."""
    if len(name.encode()) > _NAME_MAX:
        raise Failure(
            f"numerical result out of range: bridge name {name[:64]!r} is longer than an interface name"
            f" may be ({_NAME_MAX} bytes)"
        )
    if name in {".", ".."} or any(c in '/:%*"' or c.isspace() or not c.isprintable() for c in name):
        raise Failure(
            f"invalid argument: bridge name {name!r} may not hold '/', ':', '%', '*', double quotes, blanks or control"
            " characters, or be '.' or '..'"
        )


def _check_mtu(mtu: int, *, ipv6: bool) -> None:
    """What the kernel would refuse as an invalid argument. 0: its default."""
    if mtu > _MTU_MAX:
        raise Failure(f"invalid argument: MTU {mtu} is above {_MTU_MAX}, the most a bridge can have")
    if 0 < mtu < _MTU_MIN:
        raise Failure(f"invalid argument: MTU {mtu} is below {_MTU_MIN}, the least a bridge can have")
    if ipv6 and 0 < mtu < _MTU_MIN_IPV6:
        raise Failure(f"invalid argument: MTU {mtu} is below {_MTU_MIN_IPV6}, the least that IPv6 needs")


class BridgeDriver:
    name = "bridge"
    scope: Literal["local"] = "local"
    needs_pools = True

    def check(self, network: Network) -> SkipGateways:
        options = parse_options(network.options)
        isolated = "isolated" in (options.mode4, options.mode6)
        if isolated and not network.internal:
            raise Failure("gateway mode 'isolated' can only be used for an internal network")
        if not (network.enable_ipv4 or network.enable_ipv6):
            raise InvalidParameter("IPv4 or IPv6 must be enabled")
        return SkipGateways(
            ipv4=options.mode4 == "isolated" or (options.inhibit_ipv4 and network.internal),
            ipv6=options.mode6 == "isolated",
        )

    def admit(self, network: Network, view: View) -> Network:
        options = parse_options(network.options)
        _check_pools(network)
        link = options.name or f"br-{network.id[:12]}"
        check_link_name(link)
        _check_mtu(options.mtu, ipv6=network.enable_ipv6)
        if (other := view.network_with_link(link)) is not None:
            raise _conflict(network, link, other, "networks have same bridge name")
        _check_overlap(network, link, view)
        return msgspec.structs.replace(network, link=link)

    def desired(self, network: Network) -> Desired:
        options = parse_options(network.options)
        isolated6 = options.mode6 == "isolated"
        addresses = [
            f"{pool.gateway}/{pool.subnet.rpartition('/')[2]}"
            for pool in network.pools
            if pool.gateway and not (isolated6 if pool.is_ipv6 else _no_address4(options))
        ]
        bridge = Bridge(
            name=network.link,
            alias=network_alias(network.id),
            mac=stable_mac(network.id),
            mtu=options.mtu,
            addresses=tuple(addresses),
            ipv6_off=not network.enable_ipv6 or isolated6,
            route_localnet=network.enable_ipv4 and _translated(network, options.mode4),
        )
        return Desired(bridge=bridge, rules=_rules(network, options))

    def attach(self, network: Network, endpoint: Endpoint) -> Attachment:
        options = parse_options(network.options)
        pools = {pool.is_ipv6: pool for pool in network.pools}
        return Attachment(
            interface=_interface(network, endpoint, options),
            rules=_rules(network, options),
            gateway4=_gateway(network, endpoint.ipv4, options.mode4, pools.get(False), "DefaultGatewayIPv4"),
            gateway6=_gateway(network, endpoint.ipv6, options.mode6, pools.get(True), "DefaultGatewayIPv6"),
        )

    def interface_prefix(self, network: Network) -> str:
        return network.options.get(IFACE_PREFIX) or DEFAULT_PREFIX


def _interface(network: Network, endpoint: Endpoint, options: BridgeOptions) -> Interface:
    link_local = (f"{address}/{64 if ':' in address else 16}" for address in endpoint.config.link_local)
    return Interface(
        host_name=endpoint.host_link,
        alias=endpoint_alias(endpoint.id),
        bridge=network.link,
        name=endpoint.ifname,
        mac=endpoint.mac,
        mtu=options.mtu,
        addresses=tuple(filter(None, (endpoint.ipv4, endpoint.ipv6, *link_local))),
        sysctls=interface_sysctls(endpoint.config.driver_opts, endpoint.ifname),
        ipv6_off=not network.enable_ipv6,
    )


def _gateway(network: Network, address: str, mode: GatewayMode, pool: Pool | None, override: str) -> str | None:
    """Internal and isolated networks offer none; an auxiliary address of that name takes the gateway's place."""
    if not address or pool is None or network.internal or mode == "isolated":
        return None
    return pool.aux.get(override) or pool.gateway or None


def _rules(network: Network, options: BridgeOptions) -> NetworkRules:
    def family(on: bool, mode: GatewayMode, snat: str) -> FamilyRules | None:
        natted = options.masquerade and _translated(network, mode)
        return FamilyRules(mode=mode, masquerade=natted, snat=snat if natted else "") if on else None

    return NetworkRules(
        bridge=network.link,
        ipv4=family(network.enable_ipv4, options.mode4, options.host_ipv4),
        ipv6=family(network.enable_ipv6, options.mode6, options.host_ipv6),
        icc=options.icc,
        internal=network.internal,
        trusted=options.trusted,
    )


def _translated(network: Network, mode: GatewayMode) -> bool:
    """Addresses are translated between the network and the outside: it has published ports of this host."""
    return mode in ("nat", "nat-unprotected") and not network.internal


def _no_address4(options: BridgeOptions) -> bool:
    return options.inhibit_ipv4 or options.mode4 == "isolated"


def _check_pools(network: Network) -> None:
    v4 = [pool for pool in network.pools if not pool.is_ipv6]
    v6 = [pool for pool in network.pools if pool.is_ipv6]
    for on, pools, word, none in (
        (network.enable_ipv4, v4, "ipv4", "0.0.0.0/0"),
        (network.enable_ipv6, v6, "ipv6", "::/0"),
    ):
        if on and (not pools or pools[0].subnet == none):
            raise InvalidParameter(f"{word} pool is empty")
    if len(v4) > 1 or len(v6) > 1:
        raise Forbidden("bridge driver doesn't support multiple subnets")
    for pool in v6:
        _check_ipv6(pool)


_LINK_LOCAL = ipaddress.IPv6Network("fe80::/64")


def _check_ipv6(pool: Pool) -> None:
    subnet = ipaddress.IPv6Network(pool.subnet)
    shown = f"{pool.gateway}/{subnet.prefixlen}" if pool.gateway else pool.subnet
    if subnet.is_multicast:
        raise InvalidParameter(f"multicast subnet '{shown}' is not allowed")
    if subnet.overlaps(_LINK_LOCAL) and subnet != _LINK_LOCAL:
        raise InvalidParameter(f"'{shown}' clashes with the Link-Local prefix 'fe80::/64'")


@lru_cache(maxsize=4096)
def _net(subnet: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(subnet)


def _check_overlap(network: Network, link: str, view: View) -> None:
    """IPAM lets a subnet be shared where an ip-range is given; two bridges cannot share it."""
    mine = [_net(pool.subnet) for pool in network.pools if pool.ip_range]
    if not mine:
        return
    for other in view.networks():
        if other.driver != "bridge":
            continue
        for pool in other.pools:
            for subnet in mine:
                if subnet.version == _net(pool.subnet).version and subnet.overlaps(_net(pool.subnet)):
                    raise _conflict(network, link, other, f"networks have overlapping IPv{subnet.version}")


def _conflict(network: Network, link: str, other: Network, why: str) -> Forbidden:
    return Forbidden(
        f"cannot create network {network.id} ({link}): conflicts with network {other.id} ({other.link}): {why}"
    )
