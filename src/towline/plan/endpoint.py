"""An endpoint's record: its addresses, its MAC, its names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec.structs import replace

from towline.drivers.endpoint import IFNAME
from towline.ipam.contract import IpamDriver
from towline.ipam.endpoints import release_endpoint_address, request_endpoint_address
from towline.model.cluster import Block
from towline.model.desired import stable_mac
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.network import RESERVED_NAMES, SWARM, Network
from towline.model.sandbox import Sandbox


def plan_endpoint(
    sandbox: Sandbox,
    network: Network,
    config: EndpointConfig,
    *,
    endpoint_id: str,
    ipam: IpamDriver,
    blocks: Sequence[Block] | None = None,
) -> Endpoint:
    """Addresses are taken from `ipam` and given back if one of them is refused. The interface is named when it joins.
    blocks: those of this node, on a global network; BlockNeeded if they do not do.

    MAC: the configured one, else one made from the id, so that it stays the same for the endpoint's life.
    """
    mac = config.mac.lower() or stable_mac(endpoint_id)
    endpoint = Endpoint(
        id=endpoint_id,
        name=sandbox.name,
        network=network.id,
        sandbox=sandbox.id,
        mac=mac if network.link else "",
        host_link=f"veth{endpoint_id[:7]}" if network.link else "",
        dns_names=() if network.name in RESERVED_NAMES else dns_names(sandbox, config),
        config=config,
        service=sandbox.service if network.scope == SWARM else "",
    )
    for v6, on, address in ((False, network.enable_ipv4, config.ipv4), (True, network.enable_ipv6, config.ipv6)):
        if on and network.pools:
            try:
                cidr = request_endpoint_address(
                    ipam,
                    network,
                    endpoint_id=endpoint_id,
                    name=sandbox.name,
                    v6=v6,
                    address=address,
                    mac=mac,
                    blocks=blocks,
                )
            except BaseException:
                release_endpoint(endpoint, network, ipam)
                raise
            endpoint = replace(endpoint, ipv6=cidr) if v6 else replace(endpoint, ipv4=cidr)
    return endpoint


def release_endpoint(endpoint: Endpoint, network: Network, ipam: IpamDriver) -> None:
    for cidr in filter(None, (endpoint.ipv4, endpoint.ipv6)):
        release_endpoint_address(ipam, network, cidr, endpoint.id)


def dns_names(sandbox: Sandbox, config: EndpointConfig) -> tuple[str, ...]:
    """Container name, aliases, short id, hostname; the predefined networks have no names (docker-api facts 3.2)."""
    names = (sandbox.name, *config.aliases, sandbox.id[:12], sandbox.hostname)
    return tuple(dict.fromkeys(filter(None, names)))


def name_interfaces(
    endpoints: Collection[Endpoint], prefixes: Mapping[str, str], taken: Collection[str]
) -> list[Endpoint]:
    """Give each plugged endpoint its interface name: the one asked for, else the next free one of its network's prefix.

    prefixes: network id -> prefix ("eth"). taken: names in the namespace that are not ours. Endpoints that are named
    keep their names.
    """
    used = {*taken, *(endpoint.ifname for endpoint in endpoints)}
    named = []
    for endpoint in endpoints:
        if endpoint.host_link and not endpoint.ifname:
            ifname = endpoint.config.driver_opts.get(IFNAME) or _next_free(prefixes[endpoint.network], used)
            used.add(ifname)
            named.append(replace(endpoint, ifname=ifname))
        else:
            named.append(endpoint)
    return named


def _next_free(prefix: str, used: Collection[str]) -> str:
    number = 0
    while f"{prefix}{number}" in used:
        number += 1
    return f"{prefix}{number}"
