"""NetworkSettings of a container as each API version shows them (moby daemon/server/router/container/inspect.go).

Unlike Docker's, a sandbox that does not run keeps its addresses, and shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from towline.api.versions import Version
from towline.model.endpoint import Endpoint, EndpointConfig, Published
from towline.model.network import RESERVED_NAMES, Network
from towline.model.sandbox import Sandbox

ALIASES_WITHOUT_ID: Version = (1, 45)
SETTINGS_WITHOUT_BRIDGE: Version = (1, 52)

Joined = Sequence[tuple[Endpoint, Network]]

_OF_THE_BRIDGE = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)


def network_settings(sandbox: Sandbox, joined: Joined, version: Version) -> dict[str, Any]:
    """The part of GET /containers/{id}/json. Before API 1.52 what is on the network `bridge` stands at the top too, and
    all members are in alphabetical order then."""
    running = sandbox.state == "running"
    settings: dict[str, Any] = {
        "SandboxID": sandbox.id if running else "",
        "SandboxKey": sandbox.netns if running else "",
        "Ports": _port_map(sandbox, joined) if running else {},
        "Networks": networks(sandbox, joined, version),
    }
    bridge = settings["Networks"].get("bridge")
    if bridge is None or version >= SETTINGS_WITHOUT_BRIDGE:
        return settings
    at_the_top = {name: bridge[name] for name in _OF_THE_BRIDGE}
    ordered: dict[str, Any] = _alphabetical({**settings, **at_the_top})
    return ordered


def networks(sandbox: Sandbox, joined: Joined, version: Version) -> dict[str, Any]:
    """By name of network, in the order of names."""
    by_name = sorted(joined, key=lambda pair: pair[1].name)
    return {network.name: _endpoint(sandbox, endpoint, network, version) for endpoint, network in by_name}


def port_list(sandbox: Sandbox, joined: Joined) -> list[dict[str, Any]]:
    """Ports of GET /containers/json: what is published, then what is only exposed."""
    if sandbox.state != "running":
        return []
    published = sorted(_published(joined), key=lambda p: (p.port, p.protocol, ":" in p.host_ip, p.host_ip, p.host_port))
    shown: list[dict[str, Any]] = [
        {"IP": p.host_ip, "PrivatePort": p.port, "PublicPort": p.host_port, "Type": p.protocol} for p in published
    ]
    bound = {f"{p.port}/{p.protocol}" for p in published}
    for exposed in (port for port in sandbox.exposed if port not in bound):
        number, _, protocol = exposed.partition("/")
        shown.append({"PrivatePort": int(number), "Type": protocol})
    return shown


def gateways(endpoint: Endpoint, network: Network) -> tuple[str, str]:
    """Gateway addresses of both families that the network offers this endpoint; "" for none. The way out of a swarm
    network is another one's: its gateway is a reserved address."""
    if network.internal or network.spans:
        return "", ""
    gateway4 = _gateway(endpoint.ipv4, network, "DefaultGatewayIPv4")
    return gateway4, _gateway(endpoint.ipv6, network, "DefaultGatewayIPv6")


def _endpoint(sandbox: Sandbox, endpoint: Endpoint, network: Network, version: Version) -> dict[str, Any]:
    config = endpoint.config
    gateway4, gateway6 = gateways(endpoint, network)
    address4, bits4 = _split(endpoint.ipv4)
    address6, bits6 = _split(endpoint.ipv6)
    return {
        "IPAMConfig": _ipam_config(config),
        "Links": config.links or None,
        "Aliases": _aliases(sandbox, config, network, version) or None,
        "DriverOpts": _sorted(config.driver_opts) or None,
        "GwPriority": config.gw_priority,
        "NetworkID": network.id,
        "EndpointID": endpoint.id,
        "Gateway": gateway4,
        "IPAddress": address4,
        "MacAddress": endpoint.mac,
        "IPPrefixLen": bits4,
        "IPv6Gateway": gateway6,
        "GlobalIPv6Address": address6,
        "GlobalIPv6PrefixLen": bits6,
        "DNSNames": endpoint.dns_names or None,
    }


def _ipam_config(config: EndpointConfig) -> dict[str, Any] | None:
    given: dict[str, Any] = {}
    if config.ipv4:
        given["IPv4Address"] = config.ipv4
    if config.ipv6:
        given["IPv6Address"] = config.ipv6
    if config.link_local:
        given["LinkLocalIPs"] = config.link_local
    return given or None


def _aliases(sandbox: Sandbox, config: EndpointConfig, network: Network, version: Version) -> Iterable[str]:
    """Before API 1.45 short id and hostname are among them, on networks with name service."""
    if version >= ALIASES_WITHOUT_ID or network.name in RESERVED_NAMES:
        return config.aliases
    return tuple(dict.fromkeys(filter(None, (*config.aliases, sandbox.id[:12], sandbox.hostname))))


def _port_map(sandbox: Sandbox, joined: Joined) -> dict[str, Any]:
    """ "80/tcp" -> where it is published, None if it is only exposed."""
    ports: dict[str, list[dict[str, str]] | None] = dict.fromkeys(sandbox.exposed)
    for published in sorted(_published(joined), key=lambda p: (":" in p.host_ip, p.host_ip, p.host_port)):
        key = f"{published.port}/{published.protocol}"
        bindings = ports.get(key) or []
        bindings.append({"HostIp": published.host_ip, "HostPort": str(published.host_port)})
        ports[key] = bindings
    return _sorted(ports)


def _published(joined: Joined) -> Iterable[Published]:
    return (published for endpoint, _ in joined for published in endpoint.published)


def _gateway(cidr: str, network: Network, override: str) -> str:
    """An auxiliary address of the name `override` takes the gateway's place, as in Docker."""
    address, _ = _split(cidr)
    if not address:
        return ""
    inside = ip_address(address)
    pool = next((p for p in network.pools if inside in ip_network(p.subnet)), None)
    return "" if pool is None else pool.aux.get(override) or pool.gateway


def _split(cidr: str) -> tuple[str, int]:
    address, _, bits = cidr.partition("/")
    return address, int(bits or 0)


def _sorted(values: Mapping[str, Any]) -> dict[str, Any]:
    return dict(sorted(values.items()))


def _alphabetical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _alphabetical(value[key]) for key in sorted(value)}
    return [_alphabetical(item) for item in value] if isinstance(value, list) else value
