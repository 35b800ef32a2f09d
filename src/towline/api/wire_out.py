"""Networks as Docker's API shows them (moby api/types/network, builder daemon/network.go:734-760).

A network never changes, so its part that is the same in every answer is encoded once and kept while it exists. A swarm
network without labels shows null where it has no endpoints, as in Docker.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from towline.api.versions import Version
from towline.model.cluster import NetworkPeer
from towline.model.endpoint import Endpoint
from towline.model.network import Network, Pool, SubnetStatus

LIST_WITHOUT_CONTAINERS: Version = (1, 28)
INSPECT_WITH_STATUS: Version = (1, 52)

_NO_LABELS = b'"Labels":null}'
_EMPTY_LABELS = b'"Labels":{}}'

encode = msgspec.json.Encoder().encode


class Fragments:
    """Encoded networks by id, as GET /networks lists them."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Network, bytes]] = {}

    def of(self, network: Network) -> bytes:
        kept = self._kept.get(network.id)
        if kept is not None and kept[0] is network:
            return kept[1]
        fragment = encode(_network(network))
        self._kept[network.id] = (network, fragment)
        return fragment

    def forget_all_but(self, networks: Iterable[Network], count: int) -> None:
        """Drop what no longer exists, once that is a good part of what is kept. count: how many networks there are."""
        if len(self._kept) > 2 * count + 64:
            alive = {network.id for network in networks}
            self._kept = {key: value for key, value in self._kept.items() if key in alive}


def inspect(
    fragment: bytes,
    endpoints: Iterable[Endpoint],
    subnets: Mapping[str, SubnetStatus] | None,
    peers: Sequence[NetworkPeer] = (),
    services: Mapping[str, Any] | None = None,
) -> bytes:
    """GET /networks/{id}. subnets: None before API 1.52. peers: of a swarm network that has endpoints here. services:
    of one that is asked for with them."""
    if peers:
        fragment = fragment.removesuffix(_NO_LABELS) + (_EMPTY_LABELS if fragment.endswith(_NO_LABELS) else b"")
        shown = [{"Name": peer.name, "IP": peer.address} for peer in peers]
        fragment = b'%b,"Peers":%b}' % (fragment[:-1], encode(shown))
    body = _with_containers(fragment, endpoints)
    if services:
        body += b',"Services":%b' % encode(services)
    if subnets is not None:
        body += b',"Status":%b' % encode({"IPAM": _status(subnets)})
    return body + b"}\n"


def old_list_item(fragment: bytes, endpoints: Iterable[Endpoint]) -> bytes:
    """An element of GET /networks before API 1.28; from then on it is the fragment."""
    return _with_containers(fragment, endpoints) + b"}"


def rfc3339_nano(moment: int) -> str:
    """Nanoseconds since the epoch in Go's RFC3339Nano, UTC."""
    seconds, nanoseconds = divmod(moment, 10**9)
    fraction = f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{fraction}Z"


def _network(network: Network) -> dict[str, Any]:
    return {
        "Name": network.name,
        "Id": network.id,
        "Created": rfc3339_nano(network.created),
        "Scope": network.scope,
        "Driver": network.driver,
        "EnableIPv4": network.enable_ipv4,
        "EnableIPv6": network.enable_ipv6,
        "IPAM": {
            "Driver": network.ipam_driver,
            "Options": _sorted(network.ipam_options),
            "Config": [_pool(pool) for pool in network.pools] or None,
        },
        "Internal": network.internal,
        "Attachable": network.attachable,
        "Ingress": network.ingress,
        "ConfigFrom": {"Network": network.config_from},
        "ConfigOnly": network.config_only,
        "Options": _sorted(network.options),
        "Labels": _sorted(network.labels) or (None if network.scope == "swarm" else {}),
    }


def _pool(pool: Pool) -> dict[str, Any]:
    shown: dict[str, Any] = {"Subnet": pool.subnet}
    if pool.ip_range:
        shown["IPRange"] = pool.ip_range
    if pool.gateway:
        shown["Gateway"] = pool.gateway
    if pool.aux:
        shown["AuxiliaryAddresses"] = _sorted(pool.aux)
    return shown


def _sorted(values: dict[str, str] | None) -> dict[str, str] | None:
    return values if values is None else dict(sorted(values.items()))


def _with_containers(fragment: bytes, endpoints: Iterable[Endpoint]) -> bytes:
    """Without the last brace."""
    return b'%b,"Containers":%b' % (fragment[:-1], encode(_containers(endpoints)))


def _containers(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    return {
        endpoint.sandbox or f"ep-{endpoint.id}": {
            "Name": endpoint.name,
            "EndpointID": endpoint.id,
            "MacAddress": endpoint.mac,
            "IPv4Address": endpoint.ipv4,
            "IPv6Address": endpoint.ipv6,
        }
        for endpoint in endpoints
    }


def _status(subnets: Mapping[str, SubnetStatus]) -> dict[str, Any]:
    if not subnets:
        return {}
    return {
        "Subnets": {
            subnet: {"IPsInUse": status.used, "DynamicIPsAvailable": status.free} for subnet, status in subnets.items()
        }
    }
