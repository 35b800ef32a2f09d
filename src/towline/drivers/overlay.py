"""The overlay driver: one bridge without addresses per network, and a VXLAN device as its way to the other hosts, both
in the node's own namespace for overlay networks.

Options and texts: moby daemon/libnetwork/drivers/overlay (docker-api facts 5.5). A network may have several subnets;
they share its first VXLAN id.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

import msgspec

from towline.drivers.bridge import ICC, MASQUERADE, MTU, NAME
from towline.drivers.contract import Attachment, SkipGateways
from towline.drivers.endpoint import DEFAULT_PREFIX, interface_sysctls
from towline.drivers.endpoint import PREFIX as IFACE_PREFIX
from towline.model.cluster import Underlay
from towline.model.desired import (
    NOTHING,
    Bridge,
    Desired,
    FamilyRules,
    Interface,
    NetworkRules,
    Route,
    Vxlan,
    apart,
    endpoint_alias,
    is_apart,
    kernel_name,
    network_alias,
    stable_mac,
    tunnel_alias,
)
from towline.model.endpoint import Endpoint
from towline.model.errors import Failure, InvalidParameter
from towline.model.network import Network
from towline.model.requests import CreateNetwork
from towline.model.secure import ANYWHERE, OVERHEAD, secure_port
from towline.model.view import View

VNI_LIST = "com.docker.network.driver.overlay.vxlanid_list"
ENCRYPTED = "encrypted"
GATEWAY_NETWORK = "docker_gwbridge"

_LAST_VNI = (1 << 24) - 1
_OVERHEAD = {4: 50, 6: 70}  # outer IP 20 or 40, UDP 8, VXLAN 8, inner Ethernet 14
_MTU_MIN, _MTU_MAX = 68, 65535  # drivers/net/vxlan/vxlan_core.c: ETH_MIN_MTU, ETH_MAX_MTU
_MTU_MIN_IPV6 = 1280  # RFC 8200, section 5
_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_DIGITS = 10


class OverlayOptions(msgspec.Struct, frozen=True):
    """vnis: () if none are chosen yet. mtu: 0 if it follows from the underlay. encrypted: the key's presence, as
    Docker."""

    vnis: tuple[int, ...]
    mtu: int
    encrypted: bool


def parse_options(options: dict[str, str]) -> OverlayOptions:
    """Raises InvalidParameter with Docker's text for the first option that is wrong."""
    listed = options.get(VNI_LIST, "")
    return OverlayOptions(
        vnis=tuple(_vni(text) for text in listed.split(",")) if listed else (),
        mtu=_mtu(options),
        encrypted=ENCRYPTED in options,
    )


def _vni(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _DIGITS and 0 < int(text) <= _LAST_VNI):
        raise InvalidParameter(f'invalid vxlan id value "{text[:64]}" passed')
    return int(text)


def _mtu(options: dict[str, str]) -> int:
    text = options.get(MTU)
    if text is None:
        return 0
    if not _INTEGER.match(text):
        raise InvalidParameter(f'failed to parse {text[:64]}: strconv.Atoi: parsing "{text[:64]}": invalid syntax')
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise InvalidParameter(f'failed to parse {text[:64]}: strconv.Atoi: parsing "{text[:64]}": value out of range')
    if int(text) < 0:
        raise InvalidParameter(f"invalid MTU value: {int(text)}")
    return int(text)


def usable_mtu(option: int, underlay: Underlay, *, deduction: int = 0) -> int:
    """Bytes of an inner IP packet: what an outer one of the underlay's MTU carries, or the option where that is given.

    deduction: what else takes room in each packet (encryption). Like Docker, the option is the underlay's MTU as the
    network sees it; the headers are taken off it. ValueError if nothing usable is left.
    """
    outer = option or underlay.mtu
    mtu = outer - _OVERHEAD[6 if ":" in underlay.local else 4] - deduction
    if not _MTU_MIN <= mtu <= _MTU_MAX:
        raise ValueError(f"MTU {outer} leaves {mtu} bytes inside")
    return mtu


def bridge_name(network_id: str) -> str:
    return f"br-{network_id[:12]}"


def tunnel_name(network_id: str) -> str:
    return f"vx-{network_id[:12]}"


def bridge_of_tunnel(name: str) -> str:
    """The kernel's name of the bridge that a tunnel of this name would be a port of; "" if it is none of ours."""
    bare = kernel_name(name)
    return f"br-{bare[3:]}" if is_apart(name) and bare.startswith("vx-") else ""


class UnderlayHolder:
    """Where this node's place in the underlay is kept for the driver; whoever changes it reconciles. None: the node is
    in no cluster. deduction: bytes that encryption takes of each packet of an encrypted network."""

    def __init__(self, underlay: Underlay | None = None, *, deduction: int = OVERHEAD) -> None:
        self.underlay = underlay
        self.deduction = deduction


class OverlayDriver:
    name = "overlay"
    scope: Literal["global"] = "global"
    needs_pools = True

    def __init__(self, place: UnderlayHolder) -> None:
        self._place = place

    def check(self, network: Network) -> SkipGateways:
        options = parse_options(network.options)
        if network.enable_ipv6 and 0 < options.mtu < _MTU_MIN_IPV6 + _OVERHEAD[4]:
            raise Failure(f"invalid argument: MTU {options.mtu} leaves less inside than the {_MTU_MIN_IPV6} of IPv6")
        if options.mtu and not _MTU_MIN + _OVERHEAD[6] <= options.mtu <= _MTU_MAX:
            raise Failure(
                f"invalid argument: MTU {options.mtu} is not from {_MTU_MIN + _OVERHEAD[6]} to {_MTU_MAX},"
                " what VXLAN can have"
            )
        return SkipGateways()

    def admit(self, network: Network, view: View) -> Network:
        """A VXLAN id for each IPv4 subnet, as the cluster has given them; whether they and the subnets are free it has
        seen to as well."""
        vnis = parse_options(network.options).vnis
        if not vnis:
            raise InvalidParameter("no VNI provided")
        if len(vnis) < sum(not pool.is_ipv6 for pool in network.pools):
            raise InvalidParameter(f"insufficient vnis({len(vnis)}) passed to overlay")
        return msgspec.structs.replace(network, link=bridge_name(network.id))

    def desired(self, network: Network) -> Desired:
        """Nothing while the node is in no cluster, and for a record that this node cannot realise: the cluster
        has admitted it, and one network must not stop the others."""
        underlay = self._place.underlay
        try:
            options = parse_options(network.options)
            mtu = self._mtu(options, underlay) if underlay is not None else 0
        except (ValueError, InvalidParameter):
            return NOTHING
        if underlay is None or not options.vnis or (options.encrypted and not underlay.secure):
            return NOTHING
        bridge = Bridge(
            name=apart(bridge_name(network.id)),
            alias=network_alias(network.id),
            mac=stable_mac(network.id),
            mtu=mtu,
            ipv6_off=True,
        )
        tunnel = Vxlan(
            name=apart(tunnel_name(network.id)),
            alias=tunnel_alias(network.id),
            mac=stable_mac(f"tunnel {network.id}"),
            vni=options.vnis[0],
            port=secure_port(underlay.port) if options.encrypted else underlay.port,
            local=ANYWHERE if options.encrypted else underlay.local,
            mtu=mtu,
            bridge=bridge.name,
            secure=underlay.secure if options.encrypted else "",
        )
        return Desired(bridge=bridge, tunnel=tunnel)

    def _mtu(self, options: OverlayOptions, underlay: Underlay) -> int:
        return usable_mtu(options.mtu, underlay, deduction=self._place.deduction if options.encrypted else 0)

    def attach(self, network: Network, endpoint: Endpoint) -> Attachment | None:
        """None while the node is in no cluster. The way out is another network's (`docker_gwbridge`)."""
        bridge = self.desired(network).bridge
        if bridge is None:
            return None
        interface = Interface(
            host_name=apart(endpoint.host_link),
            alias=endpoint_alias(endpoint.id),
            bridge=bridge.name,
            name=endpoint.ifname,
            mac=endpoint.mac,
            mtu=bridge.mtu,
            addresses=tuple(filter(None, (endpoint.ipv4, endpoint.ipv6))),
            routes=_siblings(network, endpoint),
            sysctls=_sysctls(network, endpoint),
            ipv6_off=not network.enable_ipv6,
            fixed=True,
        )
        return Attachment(interface=interface, rules=_rules(network))

    def interface_prefix(self, network: Network) -> str:
        return network.options.get(IFACE_PREFIX) or DEFAULT_PREFIX


def _sysctls(network: Network, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
    """What comes by the routing mesh has its client's address, to which another interface leads."""
    loose = ((f"net/ipv4/conf/{endpoint.ifname}/rp_filter", "2"),) if network.ingress else ()
    return (*loose, *interface_sysctls(endpoint.config.driver_opts, endpoint.ifname))


def _siblings(network: Network, endpoint: Endpoint) -> tuple[Route, ...]:
    """The network's other subnets are on the same wire."""
    own = [ipaddress.ip_interface(cidr).network for cidr in (endpoint.ipv4, endpoint.ipv6) if cidr]
    families = {net.version for net in own}
    others = (ipaddress.ip_network(pool.subnet) for pool in network.pools)
    return tuple(Route(str(net)) for net in others if net.version in families and net not in own)


def _rules(network: Network) -> NetworkRules:
    family = FamilyRules(mode="isolated", masquerade=False)
    return NetworkRules(
        bridge=apart(bridge_name(network.id)),
        ipv4=family if network.enable_ipv4 else None,
        ipv6=family if network.enable_ipv6 else None,
    )


def gateway_network_request() -> CreateNetwork:
    """The network of each host by which endpoints of overlay networks get out (Docker's options: libnetwork
    default_gateway_linux.go)."""
    options = {NAME: GATEWAY_NETWORK, ICC: "false", MASQUERADE: "true"}
    return CreateNetwork(name=GATEWAY_NETWORK, driver="bridge", options=options)
