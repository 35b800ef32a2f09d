"""Sandboxes under /towline/v1/sandboxes, in and out; docs/api.md describes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from towline.api.goaddr import BadAddress, parse_addr, parse_mac
from towline.api.wire_out import rfc3339_nano
from towline.api.wire_settings import gateways
from towline.model.endpoint import Endpoint, EndpointConfig
from towline.model.errors import InvalidParameter
from towline.model.network import Network
from towline.model.requests import CreateSandbox
from towline.model.sandbox import DnsConfig, Process, Sandbox
from towline.policy.ports import parse_all, parse_exposed


class NetworkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses and MAC are texts that this edge checks."""

    network: str
    ipv4: str | None = None
    ipv6: str | None = None
    link_local: tuple[str, ...] | None = None
    links: tuple[str, ...] | None = None
    aliases: tuple[str, ...] | None = None
    mac: str | None = None
    driver_opts: dict[str, str] | None = None
    gw_priority: int | None = None


class DnsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    servers: tuple[str, ...] | None = None
    search: tuple[str, ...] | None = None
    options: tuple[str, ...] | None = None


class ProcessRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pid: int
    started: int


class AttachRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    netns: str | None = None
    process: ProcessRequest | None = None


class SandboxRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str | None = None
    hostname: str | None = None
    networks: tuple[NetworkRequest, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[str, ...] | None = None
    directory: str | None = None
    restart: str | None = None
    auto_remove: bool | None = None
    dns: DnsRequest | None = None
    extra_hosts: tuple[str, ...] | None = None
    sysctls: dict[str, str] | None = None
    ports: tuple[str, ...] | None = None
    exposed: tuple[str, ...] | None = None
    labels: dict[str, str] | None = None
    attach: AttachRequest | None = None
    service: str | None = None


class StartRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    process: ProcessRequest | None = None


def create_sandbox(body: SandboxRequest) -> CreateSandbox:
    """The typed request. InvalidParameter for texts that are no address, port or process."""
    attach = body.attach or AttachRequest()
    dns = body.dns or DnsRequest()
    if body.attach is not None and not attach.netns and attach.process is None:
        raise InvalidParameter("attach: name a network namespace or a process")
    return CreateSandbox(
        name=body.name or "",
        hostname=body.hostname or "",
        networks=_networks(body.networks or ()),
        command=body.command or (),
        environment=body.environment or (),
        directory=body.directory or "/",
        restart=body.restart or "no",
        auto_remove=bool(body.auto_remove),
        dns=DnsConfig(dns.servers or (), dns.search or (), dns.options or ()),
        extra_hosts=body.extra_hosts or (),
        sysctls=body.sysctls or {},
        ports=parse_all(body.ports or ()),
        exposed=tuple(dict.fromkeys(port for text in body.exposed or () for port in parse_exposed(text))),
        labels=body.labels or {},
        netns=attach.netns or "",
        process=process(attach.process),
        service=body.service or "",
    )


def process(asked: ProcessRequest | None) -> Process | None:
    if asked is None:
        return None
    if not (0 < asked.pid < 2**31 and 0 <= asked.started < 2**63):
        raise InvalidParameter(f"process {asked.pid}: this is no process id and start time")
    return Process(asked.pid, asked.started)


def _networks(asked: Sequence[NetworkRequest]) -> dict[str, EndpointConfig]:
    found: dict[str, EndpointConfig] = {}
    for request in asked:
        if request.network in found:
            raise InvalidParameter(f"network {request.network} is named twice: name it once, with all its settings")
        found[request.network] = _config(request)
    return found


def _config(request: NetworkRequest) -> EndpointConfig:
    if not -(2**63) <= (request.gw_priority or 0) < 2**63:
        raise InvalidParameter(f"network {request.network}: gw_priority is not an integer of 64 bits")
    try:
        return EndpointConfig(
            ipv4=parse_addr(request.ipv4 or ""),
            ipv6=parse_addr(request.ipv6 or ""),
            link_local=tuple(map(parse_addr, request.link_local or ())),
            links=request.links or (),
            aliases=request.aliases or (),
            mac=parse_mac(request.mac or ""),
            driver_opts=request.driver_opts or {},
            gw_priority=request.gw_priority or 0,
        )
    except BadAddress as error:
        raise InvalidParameter(f"network {request.network}: {error}") from None


def sandbox(record: Sandbox, joined: Iterable[tuple[Endpoint, Network]]) -> dict[str, Any]:
    """`Sandbox` of docs/api.md; every member is always there."""
    return {
        "id": record.id,
        "name": record.name,
        "origin": record.origin,
        "state": record.state,
        "created": _moment(record.created),
        "started": _moment(record.started),
        "finished": _moment(record.finished),
        "exit_code": record.exit_code,
        "pid": record.process.pid if record.process else 0,
        "netns": record.netns,
        "mode": record.mode,
        "service": record.service,
        "hostname": record.hostname,
        "command": record.command,
        "environment": record.environment,
        "directory": record.directory,
        "restart": record.restart,
        "restarts": record.restarts,
        "stopped": record.stopped,
        "auto_remove": record.auto_remove,
        "dns": msgspec.structs.asdict(record.dns),
        "extra_hosts": record.extra_hosts,
        "sysctls": record.sysctls,
        "exposed": record.exposed,
        "labels": record.labels,
        "ports": [msgspec.structs.asdict(port) for port in record.ports],
        "endpoints": [_endpoint(endpoint, network) for endpoint, network in joined],
    }


def _endpoint(endpoint: Endpoint, network: Network) -> dict[str, Any]:
    gateway_ipv4, gateway_ipv6 = gateways(endpoint, network)
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "network": network.id,
        "network_name": network.name,
        "driver": network.driver,
        "mac": endpoint.mac,
        "ipv4": endpoint.ipv4,
        "ipv6": endpoint.ipv6,
        "gateway_ipv4": gateway_ipv4,
        "gateway_ipv6": gateway_ipv6,
        "ifname": endpoint.ifname,
        "host_link": endpoint.host_link,
        "dns_names": endpoint.dns_names,
        "published": [msgspec.structs.asdict(port) for port in endpoint.published],
        "config": msgspec.structs.asdict(endpoint.config),
    }


def _moment(nanoseconds: int) -> str:
    return rfc3339_nano(nanoseconds) if nanoseconds else ""
