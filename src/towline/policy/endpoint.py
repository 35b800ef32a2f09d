"""May this sandbox be joined to, or leave, this network, with these settings?

Rules, order and texts: moby daemon/container_operations.go:531-641 and :1040-1120, daemon/libnetwork/network.go
(docker-api facts 1.5, 1.6, 3.1). What the kernel would refuse later is refused here, with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from towline.drivers.endpoint import IFNAME
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter
from towline.model.network import RESERVED_NAMES, SWARM, Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service
from towline.model.view import View
from towline.policy.endpoint_options import what_is_wrong_with_options
from towline.policy.texts import shown, what_is_wrong_with_name

HOST, NONE, IPVLAN = "host", "null", "ipvlan"
"""Names of drivers that differ in what an endpoint may ask."""

_PREFIX = "invalid endpoint settings:\n"
ONLY_HOST = "cannot connect container to host network - container must be created in host network mode"
SHARED = "container sharing network namespace with another container or host cannot be connected to any other network"
ONLY_NONE = "container cannot be connected to multiple networks with one of the networks in private (none) mode"
_STAYS_ON_HOST = "cannot disconnect container from host network - container was created in host network mode"


def check_settings(config: EndpointConfig, network: Network) -> None:
    """Are the settings right in themselves and for this network? InvalidParameter: all that is wrong, in one text."""
    wrong = [
        *_wrong_place(config, network),
        *what_is_wrong_with_options(config.driver_opts),
        *_wrong_addresses(config, network),
        *_wrong_mac(config),
        *_wrong_names(config),
    ]
    if wrong:
        raise InvalidParameter(_PREFIX + _joined(wrong))
    for address in config.link_local:
        if not ip_address(address).is_link_local:
            raise InvalidParameter(f"invalid link local IP address: {address}")


def check_connect(view: View, sandbox: Sandbox, network: Network, config: EndpointConfig) -> None:
    """May `sandbox`, running or not, be connected to `network`? The first rule that fails is raised.

    InvalidParameter, Forbidden; Conflict for a MAC or an interface name that is taken. Whether an address is free is
    for the address manager to say.
    """
    _check_company(view, sandbox, network)
    check_settings(config, network)
    if config.mac and network.driver == IPVLAN:
        raise Failure("ipvlan interfaces do not support custom mac address assignment")
    check_joinable(network, view.service(sandbox.service) if sandbox.service else None)
    if any(endpoint.network == network.id for endpoint in view.endpoints_in(sandbox.id)):
        raise Forbidden(f"endpoint with name {sandbox.name} already exists in network {network.name}")
    check_unique(view, sandbox, network, config)


def check_joinable(network: Network, service: Service | None = None) -> None:
    """Forbidden for a configuration, and for a network of the cluster that each host would make; Failure (Docker's 500)
    for a global network that is only for services, unless the sandbox is of one that is on it."""
    if network.config_only:
        raise Forbidden("cannot create endpoint on configuration-only network")
    at_service = service is not None and network.id in service.networks
    if network.scope == SWARM and not network.attachable and not at_service:
        raise Failure(
            f"Could not attach to network {network.name}: "
            f"rpc error: code = PermissionDenied desc = network {network.name} not manually attachable"
        )
    if network.scope == SWARM and network.driver in (HOST, NONE):
        raise Forbidden(f'only one instance of "{network.driver}" network is allowed: join the one that each node has')


def check_unique(view: View, sandbox: Sandbox, network: Network, config: EndpointConfig) -> None:
    """Nothing that is asked for by name is taken: MAC and link-local addresses in the network, interface in the
    sandbox. Looks through the endpoints only where something is asked for."""
    if config.mac or config.link_local:
        for other in view.endpoints_of(network.id):
            _check_apart(config, other, network)
    if ifname := config.driver_opts.get(IFNAME):
        for other in view.endpoints_in(sandbox.id):
            if ifname in (other.ifname, other.config.driver_opts.get(IFNAME)):
                raise Conflict(f"interface name {ifname} is taken in {sandbox.name}: choose another {IFNAME}")


def check_disconnect(view: View, sandbox: Sandbox, network: Network) -> Endpoint:
    """The endpoint that will leave. InvalidParameter for the host network, Forbidden for that of a service's ports,
    Failure if there is none (Docker's 500)."""
    found = next((e for e in view.endpoints_in(sandbox.id) if e.network == network.id and not e.way_out), None)
    if network.driver == HOST and (found is not None or _is_on(view, sandbox, HOST)):
        raise InvalidParameter(_STAYS_ON_HOST)
    if network.ingress and found is not None:
        raise Forbidden(f"sandbox {sandbox.name} is on network {network.name} for the ports of its service")
    if found is None:
        the = "" if sandbox.state == "running" else "the "
        raise Failure(f"container {sandbox.id} is not connected to {the}network {network.name}")
    return found


def live_endpoints(view: View, network_id: str) -> tuple[Endpoint, ...]:
    """Endpoints of the network whose sandbox runs, and those that belong to no sandbox. The others only keep an
    identity, and hold nobody from removing the network."""

    def is_live(endpoint: Endpoint) -> bool:
        if not endpoint.sandbox:
            return True
        sandbox = view.sandbox(endpoint.sandbox)
        return sandbox is not None and sandbox.state == "running"

    return tuple(filter(is_live, view.endpoints_of(network_id)))


def _check_company(view: View, sandbox: Sandbox, network: Network) -> None:
    """host and none exclude other networks (moby runconfig/errors.go)."""
    if network.driver == HOST and not _is_on(view, sandbox, HOST):
        raise InvalidParameter(ONLY_HOST)
    others = [e for e in view.endpoints_in(sandbox.id) if e.network != network.id and not e.way_out]
    if others and _is_on(view, sandbox, HOST):
        raise InvalidParameter(SHARED)
    if others and (network.driver == NONE or _is_on(view, sandbox, NONE)):
        raise InvalidParameter(ONLY_NONE)


def _is_on(view: View, sandbox: Sandbox, driver: str) -> bool:
    networks = (view.network(endpoint.network) for endpoint in view.endpoints_in(sandbox.id))
    return any(network is not None and network.driver == driver for network in networks)


def _wrong_place(config: EndpointConfig, network: Network) -> Iterator[str]:
    if network.name not in RESERVED_NAMES:
        return
    if config.ipv4 or config.ipv6:
        yield "user-specified IP address is supported on user-defined networks only"
    if config.aliases:
        yield "network-scoped aliases are only supported for user-defined networks"


def _wrong_addresses(config: EndpointConfig, network: Network) -> Iterator[str]:
    """Docker accepts any address of the network's subnets, given or automatic; being of the wrong family, and being in
    none of the subnets of its family, are two faults."""
    given = ((config.ipv4, IPv4Address, "IPv4"), (config.ipv6, IPv6Address, "IPv6"))
    for text, kind, family in given:
        if text and (type(ip_address(text)) is not kind or _is_mapped(text)):
            yield f"invalid {family} address: {text}"
    for address in config.link_local:
        if ip_address(address).is_unspecified:
            yield f"invalid link-local IP address: {address}"
    for address in sorted({a for a in config.link_local if config.link_local.count(a) > 1}):
        yield f"link-local IP address {address} is given twice"
    for text, kind, _ in given:
        if text and not _in_a_subnet(text, network, v6=kind is IPv6Address):
            yield f"no configured subnet contains IP address {text}"


def _in_a_subnet(text: str, network: Network, *, v6: bool) -> bool:
    address = ip_address(text)
    return any(pool.is_ipv6 == v6 and address in ip_network(pool.subnet) for pool in network.pools)


def _is_mapped(text: str) -> bool:
    address = ip_address(text)
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


def _wrong_mac(config: EndpointConfig) -> Iterator[str]:
    if not (mac := config.mac):
        return
    try:
        octets = bytes.fromhex(mac.replace(":", ""))
    except ValueError:
        octets = b""
    if len(octets) != 6 or mac.count(":") != 5:
        yield f"invalid MAC address: {mac}: an interface's address has six octets, as 02:42:ac:11:00:02"
    elif octets[0] & 1:
        yield f"invalid MAC address: {mac}: it is a multicast address; the first octet must be even"
    elif not any(octets):
        yield f"invalid MAC address: {mac}: it is all zero, which no interface can have"


def _wrong_names(config: EndpointConfig) -> Iterator[str]:
    for alias in config.aliases:
        if why := what_is_wrong_with_name(alias):
            yield f"invalid network-scoped alias {shown(alias)}: {why}"
    for link in config.links:
        target, colon, alias = link.rpartition(":")
        why = what_is_wrong_with_name(target if colon else alias) or what_is_wrong_with_name(alias)
        if why:
            yield f"invalid link {shown(link)}: write NAME or NAME:ALIAS; {why}"


def _check_apart(config: EndpointConfig, other: Endpoint, network: Network) -> None:
    if config.mac and config.mac.lower() == other.mac:
        raise Conflict(f"MAC address {config.mac} is in use in network {network.name} by {other.name}: choose another")
    for address in config.link_local:
        if address in other.config.link_local:
            raise Forbidden(
                f"Address already in use: {address} is a link-local address of {other.name} in network {network.name}"
            )


def _joined(wrong: list[str]) -> str:
    """As moby's multierror: one stands alone, several become a list."""
    if len(wrong) == 1:
        return wrong[0]
    return "\n".join("* " + text.replace("\n", "\n\t") for text in wrong)
