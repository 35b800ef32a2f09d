"""May this global network exist, may it go? The checks of a swarm manager, in their order, with their texts.

Order and texts: swarmkit manager/controlapi/network.go, common.go (docker-api facts 7.1, 7.2). What the engine checks
before it hands a request to the manager (predefined names, options, IPAM texts of its own) is `policy.network`'s.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Protocol

from msgspec.structs import replace

from towline.ipam.prefix import Prefix, parse_address, parse_interface
from towline.model.cluster import Peer
from towline.model.errors import Conflict, InvalidParameter
from towline.model.network import Network
from towline.model.requests import CreateNetwork, PoolRequest
from towline.model.service import Service
from towline.policy.network import switch_families
from towline.policy.rpc import refusal

PREDEFINED_LABEL = "com.docker.swarm.predefined"
NETWORK_DRIVERS = frozenset({"overlay", "bridge", "macvlan", "ipvlan", "host", "null"})
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?")
_LONGEST_NAME = 63
_MOST_POOLS = 64
_LARGEST_MAPS = 64 * 1024


class Names(Protocol):
    """The global networks there are."""

    def named(self, name: str) -> Network | None:
        """Case-insensitive."""
        ...

    def ingress(self) -> Network | None: ...


def admit_global_network(request: CreateNetwork, names: Names) -> CreateNetwork:
    """The request with defaults filled in, or the error of the first check that fails."""
    same = names.named(request.name)
    if same is not None and same.name == request.name:
        raise Conflict(f"network with name {request.name} already exists")
    request = switch_families(request)
    if not request.enable_ipv4:
        raise InvalidParameter("IPv4 cannot be disabled in a Swarm scoped network")
    _check_spec(request)
    if request.ingress and (ingress := names.ingress()) is not None:
        raise refusal("AlreadyExists", f"ingress network ({ingress.id}) is already present")
    if same is not None:
        raise refusal("Unknown", "name conflicts with an existing object")
    return replace(
        request,
        scope="swarm",
        enable_ipv4=True,
        enable_ipv6=bool(request.enable_ipv6) or any(":" in pool.subnet for pool in request.pools),
        ipam_driver=request.ipam_driver or "default",
    )


def _check_spec(request: CreateNetwork) -> None:
    if request.ingress and request.driver not in ("", "overlay"):
        raise refusal("Unimplemented", "only overlay driver is currently supported for ingress network")
    if request.ingress and request.attachable:
        raise refusal("InvalidArgument", "ingress network cannot be attachable")
    _check_name(request.name)
    if PREDEFINED_LABEL in request.labels:
        raise refusal(
            "PermissionDenied",
            f"label {PREDEFINED_LABEL} is for internally created predefined networks and cannot be applied by users",
        )
    if not request.driver:
        raise refusal("InvalidArgument", "driver name: if driver is specified name is required")
    if request.driver not in NETWORK_DRIVERS:
        raise refusal("InvalidArgument", f"error during lookup of plugin {request.driver[:100]}")
    if request.ipam_driver not in ("", "default"):
        raise refusal("InvalidArgument", f"error during lookup of plugin {request.ipam_driver[:100]}")
    for pool in request.pools:
        _check_pool(pool)
    _check_size(request)


def _check_name(name: str) -> None:
    if not name:
        raise refusal("InvalidArgument", "meta: name must be provided")
    if not _NAME.fullmatch(name):
        raise refusal("InvalidArgument", "name must be valid as a DNS name component")
    if len(name) > _LONGEST_NAME:
        raise refusal("InvalidArgument", "name must be 63 characters or fewer")


def _check_pool(pool: PoolRequest) -> None:
    """An entry without a subnet asks for an automatic one; it can hold no range and no gateway then."""
    if not pool.subnet:
        if pool.ip_range or pool.gateway:
            raise _ipam("invalid subnet ")
        return
    subnet = _prefix(pool.subnet, "subnet")
    if pool.ip_range and not subnet.holds(_prefix(pool.ip_range, "range")):
        raise _ipam(f"subnet {pool.subnet} does not contain range {pool.ip_range}")
    if pool.gateway:
        try:
            v6, value = parse_address(pool.gateway)
        except ValueError:
            raise _ipam(f"invalid gateway {pool.gateway[:100]}") from None
        if v6 != subnet.v6 or not subnet.start <= value <= subnet.end:
            raise _ipam(f"subnet {pool.subnet} does not contain gateway {pool.gateway}")


def _prefix(text: str, what: str) -> Prefix:
    try:
        return parse_interface(text)[0]
    except ValueError:
        raise _ipam(f"invalid {what} {text[:100]}") from None


def _ipam(text: str) -> Exception:
    return refusal("InvalidArgument", f"ipam configuration: {text}")


def _check_size(request: CreateNetwork) -> None:
    """Every node gets a copy of the record."""
    if len(request.pools) > _MOST_POOLS:
        raise refusal("InvalidArgument", f"ipam configuration: {len(request.pools)} subnets, at most {_MOST_POOLS}")
    for what, texts in (("labels", request.labels), ("options", request.options)):
        if (size := _size(texts)) > _LARGEST_MAPS:
            raise refusal("InvalidArgument", f"{what} are {size} bytes long, at most {_LARGEST_MAPS}")


def _size(texts: Mapping[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in texts.items())


def check_global_removal(network: Network, user: Peer | None, service: Service | None = None) -> None:
    """user: an endpoint that is on the network, service: one that is; None if there is none."""
    if service is not None and network.ingress:
        text = f"ingress network cannot be removed because service {service.id} depends on it"
        raise refusal("FailedPrecondition", text)
    if service is not None:
        raise refusal("FailedPrecondition", f"network {network.id} is in use by service {service.id}")
    if user is not None and network.ingress:
        text = f"ingress network cannot be removed because service {task_id(user.id)} depends on it"
        raise refusal("FailedPrecondition", text)
    if user is not None:
        raise refusal("FailedPrecondition", f"network {network.id} is in use by task {task_id(user.id)}")
    if PREDEFINED_LABEL in network.labels:
        text = f"network {network.name} ({network.id}) is a swarm predefined network and cannot be removed"
        raise refusal("FailedPrecondition", text)


_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def task_id(endpoint_id: str) -> str:
    """25 digits of base 36, always the same for an endpoint: what Docker shows is the id of its task."""
    value = int.from_bytes(sha256(endpoint_id.encode()).digest()[:16], "big")
    digits = []
    for _ in range(25):
        value, digit = divmod(value, 36)
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
