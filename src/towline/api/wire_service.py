"""Services, in and out: under /towline/v1/services, and as Docker's clients see them (moby
api/types/swarm/service.go)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
from msgspec.structs import asdict

from towline.api.wire_out import rfc3339_nano
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint, Protocol
from towline.model.requests import CreateService, UpdateService
from towline.model.service import Member, Service, ServicePort, ServiceStatus, VirtualIP

Named = Callable[[str], str]
"""The name of a network by its id."""


class PortRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    target: int
    published: int | None = None
    protocol: Protocol | None = None
    mode: Literal["ingress", "host"] | None = None
    name: str | None = None


class ServiceRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = ""
    mode: str | None = None
    networks: tuple[str, ...] | None = None
    ports: tuple[PortRequest, ...] | None = None
    labels: dict[str, str] | None = None


class ServiceUpdateRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int | None = None
    mode: str | None = None
    networks: tuple[str, ...] | None = None
    ports: tuple[PortRequest, ...] | None = None
    labels: dict[str, str] | None = None


def create_service(body: ServiceRequest) -> CreateService:
    """Networks as the client names them."""
    return CreateService(
        name=body.name,
        mode=body.mode or "",
        networks=body.networks or (),
        ports=tuple(map(_port, body.ports or ())),
        labels=body.labels or {},
    )


def update_service(body: ServiceUpdateRequest) -> UpdateService:
    return UpdateService(
        version=body.version or 0,
        mode=body.mode,
        networks=body.networks,
        ports=None if body.ports is None else tuple(map(_port, body.ports)),
        labels=body.labels,
    )


def _port(asked: PortRequest) -> ServicePort:
    return ServicePort(
        target=asked.target,
        published=asked.published or 0,
        protocol=asked.protocol or "tcp",
        mode=asked.mode or "ingress",
        name=asked.name or "",
    )


def service(status: ServiceStatus, named: Named) -> dict[str, Any]:
    """`Service` of docs/api.md; every member is always there."""
    found = status.service
    return {
        "id": found.id,
        "name": found.name,
        "created": rfc3339_nano(found.created),
        "updated": rfc3339_nano(found.updated or found.created),
        "version": found.index,
        "mode": found.mode,
        "networks": [_place(found, network_id, named) for network_id in _places(found)],
        "ports": [asdict(port) for port in found.ports],
        "labels": found.labels,
        "members": [_member(member, named) for member in status.members],
    }


def _places(found: Service) -> tuple[str, ...]:
    return (*found.networks, found.ingress) if found.ingress else found.networks


def _place(found: Service, network_id: str, named: Named) -> dict[str, Any]:
    vip = found.vip_on(network_id)
    addresses = {"ipv4": vip.ipv4 if vip is not None else "", "ipv6": vip.ipv6 if vip is not None else ""}
    return {"id": network_id, "name": named(network_id), "ingress": network_id == found.ingress, **addresses}


def _member(member: Member, named: Named) -> dict[str, Any]:
    addresses = {named(network_id): cidrs for network_id, cidrs in member.addresses.items()}
    return {**asdict(member), "addresses": addresses}


def docker_service(status: ServiceStatus, *, counted: bool = False) -> dict[str, Any]:
    """GET /services. Tasks are the running members: of a service that is complete as it is. counted: with their number,
    as `?status=true` asks."""
    found = status.service
    up = sum(member.up for member in status.members)
    ports = [_docker_port(port) for port in found.ports]
    endpoint = {"Mode": found.mode, **({"Ports": ports} if ports else {})}
    template: dict[str, Any] = {"ContainerSpec": {"Image": ""}, "ForceUpdate": 0, "Runtime": "container"}
    if found.networks:
        template["Networks"] = [{"Target": network_id} for network_id in found.networks]
    vips = [{"NetworkID": vip.network, "Addr": vip.ipv4} for vip in found.vips if vip.ipv4]
    shown: dict[str, Any] = {
        "ID": found.id,
        "Version": {"Index": found.index},
        "CreatedAt": rfc3339_nano(found.created),
        "UpdatedAt": rfc3339_nano(found.updated or found.created),
        "Spec": {
            "Name": found.name,
            "Labels": found.labels,
            "TaskTemplate": template,
            "Mode": {"Replicated": {"Replicas": len(status.members)}},
            "EndpointSpec": endpoint,
        },
        "Endpoint": {
            "Spec": endpoint,
            **({"Ports": ports} if ports else {}),
            **({"VirtualIPs": vips} if vips else {}),
        },
    }
    if counted:
        shown["ServiceStatus"] = {"RunningTasks": up, "DesiredTasks": len(status.members), "CompletedTasks": 0}
    return shown


def on_network(
    network_id: str, services: Iterable[Service], endpoints: Iterable[Endpoint], peers: Iterable[Peer], host: str
) -> dict[str, Any]:
    """`Services` of a network that is inspected with `verbose`; those of no service have the name "". host: bare
    address of this node."""
    known = {service.id: service for service in services}
    shown = {service.name: _on_network(service.vip_on(network_id), service) for service in known.values()}
    tasks: list[tuple[str, Endpoint | Peer, str]] = [
        (endpoint.service, endpoint, host) for endpoint in endpoints if not endpoint.way_out
    ]
    tasks += [(peer.service, peer, peer.vtep) for peer in peers]
    for service_id, task, address in tasks:
        service = known.get(service_id)
        entry = shown.setdefault(service.name if service is not None else "", _on_network(None, None))
        info = {"Host IP": address}
        entry["Tasks"].append(
            {"Name": task.name, "EndpointID": task.id, "EndpointIP": task.ipv4.partition("/")[0], "Info": info}
        )
    return shown


def _on_network(vip: VirtualIP | None, service: Service | None) -> dict[str, Any]:
    ports = [f"Target: {port.target}, Publish: {port.published}" for port in service.ports] if service else []
    address = vip.ipv4.partition("/")[0] if vip is not None else ""
    return {"VIP": address, "Ports": ports, "LocalLBIndex": 0, "Tasks": []}


def _docker_port(port: ServicePort) -> dict[str, Any]:
    named = {"Name": port.name} if port.name else {}
    published = {"PublishedPort": port.published} if port.published else {}
    return {**named, "Protocol": port.protocol, "TargetPort": port.target, **published, "PublishMode": port.mode}
