"""May this service be there, with these networks and ports? Order and texts are a swarm manager's.

Sources: swarmkit manager/controlapi/service.go, moby daemon/cluster/convert/service.go (docker-api facts 7.2, 7.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from msgspec.structs import replace

from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter
from towline.model.network import SWARM, Network
from towline.model.requests import CreateService, UpdateService
from towline.model.service import Service, ServicePort
from towline.policy.rpc import refusal

MOST_NETWORKS = 16
"""Each is up to eight conditions and changes of one transaction."""
MOST_PORTS = 256
_LARGEST_LABELS = 64 * 1024
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")
_PORT_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9])?")
_LONGEST_NAME = 63
_LAST_PORT = 65535
_NO_INGRESS = "service needs ingress network, but no ingress network is present"


class Services(Protocol):
    """Those there are."""

    def named(self, name: str) -> Service | None:
        """Case-insensitive."""
        ...

    def publishing(self, protocol: str, port: int) -> Service | None: ...
    def publishing_on_hosts(self, protocol: str, port: int, *, besides: str) -> Service | None: ...


class Networks(Protocol):
    """The global networks there are."""

    def get(self, network_id: str) -> Network | None: ...
    def ingress(self) -> Network | None: ...


def admit_service(request: CreateService, networks: Networks, services: Services) -> Service:
    """What was asked for, without id, times and what has yet to be given to it; or the first refusal."""
    _check_name(request.name)
    wanted = Service(
        id="",
        name=request.name,
        created=0,
        mode="dnsrr" if request.mode == "dnsrr" else "vip",
        networks=request.networks,
        ports=request.ports,
        labels=request.labels,
    )
    _check_mode(request.mode)
    _check(wanted, networks, services)
    if services.named(request.name) is not None:
        text = f"name conflicts with an existing object: service {request.name} already exists"
        raise refusal("AlreadyExists", text)
    return wanted


def admit_update(request: UpdateService, service: Service, networks: Networks, services: Services) -> Service:
    """The service as it is to be, its virtual addresses still as they were."""
    if request.version and request.version != service.index:
        raise Failure("rpc error: code = Unknown desc = update out of sequence")
    if request.mode is not None:
        _check_mode(request.mode)
    wanted = replace(
        service,
        mode=service.mode if request.mode is None else "dnsrr" if request.mode == "dnsrr" else "vip",
        networks=service.networks if request.networks is None else request.networks,
        ports=service.ports if request.ports is None else request.ports,
        labels=service.labels if request.labels is None else request.labels,
    )
    _check(wanted, networks, services)
    return wanted


def check_service_removal(service: Service, members: Sequence[str], *, force: bool) -> None:
    """members: names of running sandboxes that belong to it."""
    if members and not force:
        shown = ", ".join(members[:5]) + (f" and {len(members) - 5} more" if len(members) > 5 else "")
        raise Conflict(
            f"service {service.name} has running members: {shown}. Stop them first, or remove it by force: they go on "
            "under their own names then, and belong to no service"
        )


def check_network_for_service(network: Network) -> None:
    """Forbidden, InvalidParameter: a service cannot be on it."""
    if network.scope != SWARM or network.driver != "overlay" or network.config_only:
        raise Forbidden(
            f"The network {network.name} cannot be used with services. Only networks scoped to the swarm can be used, "
            "such as those created with the overlay driver."
        )
    if network.ingress:
        text = f'Service cannot be explicitly attached to the ingress network "{network.name}"'
        raise refusal("InvalidArgument", text)


def check_service_name(name: str) -> None:
    _check_name(name)


def _check_name(name: str) -> None:
    if not name:
        raise refusal("InvalidArgument", "meta: name must be provided")
    if not _NAME.fullmatch(name):
        raise refusal("InvalidArgument", "name must be valid as a DNS name component")
    if len(name) > _LONGEST_NAME:
        raise refusal("InvalidArgument", "name must be 63 characters or fewer")


def _check_mode(mode: str) -> None:
    if mode not in ("", "vip", "dnsrr"):
        raise InvalidParameter(f"invalid endpoint mode {mode[:64]!r}: it is vip or dnsrr")


def _check(wanted: Service, networks: Networks, services: Services) -> None:
    _check_size(wanted)
    _check_ports(wanted)
    _check_networks(wanted.networks, networks.get)
    for port in wanted.ports:
        if port.published:
            _check_free(port, wanted, services)
    if wanted.ingress_ports and networks.ingress() is None:
        raise refusal("FailedPrecondition", _NO_INGRESS)


def _check_size(wanted: Service) -> None:
    if len(wanted.ports) > MOST_PORTS:
        raise InvalidParameter(f"service {wanted.name}: {len(wanted.ports)} ports, at most {MOST_PORTS}")
    if (size := _size(wanted.labels)) > _LARGEST_LABELS:
        raise InvalidParameter(f"service {wanted.name}: labels are {size} bytes long, at most {_LARGEST_LABELS}")


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in texts.items())


def _check_networks(wanted: Sequence[str], get: Callable[[str], Network | None]) -> None:
    if len(wanted) > MOST_NETWORKS:
        raise InvalidParameter(f"{len(wanted)} networks for one service, at most {MOST_NETWORKS}")
    for at, network_id in enumerate(wanted):
        network = get(network_id)
        if network is None:
            raise Failure(f"network {network_id[:64]} not found")
        check_network_for_service(network)
        if network_id in wanted[:at]:
            raise InvalidParameter(f"network {network.name} is named twice: name it once")


def _check_ports(wanted: Service) -> None:
    seen: set[tuple[str, int]] = set()
    for port in wanted.ports:
        if not 1 <= port.target <= _LAST_PORT:
            raise InvalidParameter(f"invalid target port {port.target}: it must be from 1 to {_LAST_PORT}")
        if not 0 <= port.published <= _LAST_PORT:
            raise InvalidParameter(f"invalid published port {port.published}: it must be from 0 to {_LAST_PORT}")
        if port.name and not _PORT_NAME.fullmatch(port.name):
            raise InvalidParameter(f"invalid name of a port {port.name[:64]!r}: it must be valid as a DNS label")
        if wanted.mode == "dnsrr" and port.mode == "ingress":
            text = "EndpointSpec: port published with ingress mode can't be used with dnsrr mode"
            raise refusal("InvalidArgument", text)
        if port.published and (port.protocol, port.published) in seen:
            raise refusal("InvalidArgument", "EndpointSpec: duplicate published ports provided")
        seen.add((port.protocol, port.published))


def _check_free(port: ServicePort, wanted: Service, services: Services) -> None:
    """On every node: in the way of everybody's. On the nodes of its members: of those on every node only."""
    other = services.publishing(port.protocol, port.published)
    how = "an ingress port"
    if (other is None or other.id == wanted.id) and port.mode == "ingress":
        other = services.publishing_on_hosts(port.protocol, port.published, besides=wanted.id)
        how = "a host-published port"
    if other is not None and other.id != wanted.id:
        text = f"port '{port.published}' is already in use by service '{other.name}' ({other.id}) as {how}"
        raise refusal("InvalidArgument", text)
