"""A request for a global network becomes its record: VXLAN ids, subnets and gateways, beside all the others.

Rules: swarmkit's allocator and moby daemon/libnetwork/drivers/overlay/ovmanager (docker-api facts 4, 5.5, 7.1). What
Docker accepts and then never allocates (a subnet or VXLAN id that is taken) is refused here, with who has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec.structs import replace

from towline.ipam.addresses import Addresses
from towline.ipam.errors import AddressTaken
from towline.ipam.pools import ula_pool
from towline.ipam.prefix import Prefix, format_address, parse_address, parse_prefix
from towline.ipam.prefixes import PrefixSet
from towline.model.cluster import Cluster
from towline.model.errors import Conflict, Failure, Forbidden, InvalidParameter, Unavailable
from towline.model.network import Network, Pool
from towline.model.requests import CreateNetwork, PoolRequest

VNI_LIST = "com.docker.network.driver.overlay.vxlanid_list"
LAST_VNI = (1 << 24) - 1


class Held(Protocol):
    """What the global networks there are hold."""

    @property
    def subnets(self) -> PrefixSet: ...
    def with_subnet(self, subnet: Prefix) -> Network | None: ...
    def with_vni(self, vni: int) -> Network | None: ...
    def free_vni(self, after: int) -> int | None:
        """The lowest free one above `after`, else the lowest of all; None if all are taken."""
        ...


def plan_global_network(
    request: CreateNetwork, cluster: Cluster, held: Held, *, network_id: str, now: int, last_vni: int
) -> tuple[Network, int]:
    """The record to commit, and the last VXLAN id that was given out in order (`last_vni` if none was).

    `request` has passed `policy.global_network`. now: nanoseconds since the epoch. Ids go round, as Docker's: one that
    was freed is not the next to be given, so a node that missed the removal mixes no two networks up.
    """
    network = _record(request, network_id, now)
    if request.driver != "overlay":
        return replace(network, ipam_driver="", requests=request.pools), last_vni
    pools = tuple(_pools(request, cluster, held))
    vnis, last_vni = _vnis(request, pools, held, last_vni)
    options = {**request.options, VNI_LIST: ",".join(map(str, vnis))}
    return replace(network, pools=pools, options=options), last_vni


def vnis_of(network: Network) -> tuple[int, ...]:
    """The VXLAN ids of a record, the one in use first; ValueError if the record is broken."""
    text = network.options.get(VNI_LIST, "") if network.driver == "overlay" else ""
    return tuple(int(part) for part in text.split(",")) if text else ()


def _record(request: CreateNetwork, network_id: str, now: int) -> Network:
    return Network(
        id=network_id,
        name=request.name,
        created=now,
        driver=request.driver,
        phase="ready",
        scope="swarm",
        enable_ipv6=bool(request.enable_ipv6),
        internal=request.internal,
        attachable=request.attachable,
        ingress=request.ingress,
        config_from=request.config_from,
        ipam_driver=request.ipam_driver,
        ipam_options=request.ipam_options or None,
        options=request.options,
        labels=request.labels,
    )


def _pools(request: CreateNetwork, cluster: Cluster, held: Held) -> Iterator[Pool]:
    """Given subnets keep their order, IPv4 before IPv6; a family that is on and was not asked for gets one."""
    chosen = PrefixSet()
    wanted = {False: True, True: bool(request.enable_ipv6)}
    for v6, on in wanted.items():
        mine = [pool for pool in request.pools if (":" in pool.subnet) == v6]
        for asked in (mine or [PoolRequest()]) if on else []:
            subnet = _subnet(asked, v6, cluster, held, chosen)
            chosen.add(subnet)
            yield _with_gateway(asked, subnet)


def _subnet(asked: PoolRequest, v6: bool, cluster: Cluster, held: Held, chosen: PrefixSet) -> Prefix:
    given = parse_prefix(asked.subnet) if asked.subnet else None
    if given is None or given.unspecified:
        return _automatic(given.length if given else 0, v6, cluster, held, chosen)
    if (other := held.subnets.overlapping(given)) is not None:
        owner = held.with_subnet(other)
        whose = f"{other} of network {owner.name}" if owner else str(other)
        raise _overlap(f"{given} overlaps {whose}; choose another subnet, or leave it to the cluster")
    if (own := chosen.overlapping(given)) is not None:
        raise _overlap(f"{given} overlaps {own} of the same request")
    return given


def _overlap(why: str) -> Forbidden:
    return Forbidden(f"invalid pool request: Pool overlaps with other one on this address space: {why}")


def _automatic(length: int, v6: bool, cluster: Cluster, held: Held, chosen: PrefixSet) -> Prefix:
    """The lowest block of the cluster's pools that overlaps nothing. length 0: the usual one."""
    bases = (ula_pool(cluster.id).base,) if v6 else cluster.pools
    length = length or (64 if v6 else cluster.subnet_size)
    for base in map(parse_prefix, bases):
        block = held.subnets.first_gap(base, length) if base.length <= length <= base.bits else None
        while block is not None:
            free = chosen.first_gap(base, length, block.start)
            if free is None or free == block:
                break
            block = held.subnets.first_gap(base, length, free.start)
        if block is not None and not chosen.overlaps(block):
            return block
    raise InvalidParameter(
        f"all predefined address pools have been fully subnetted: no /{length} is free in {', '.join(bases)}; "
        "remove networks, or give a subnet"
    )


def _with_gateway(asked: PoolRequest, subnet: Prefix) -> Pool:
    """The given gateway, else the first address of the range or subnet that is not the subnet's own."""
    ip_range = parse_prefix(asked.ip_range) if asked.ip_range else None
    addresses = Addresses(subnet)
    if ip_range is not None:
        addresses.add_range(ip_range)
    if asked.gateway:
        value = parse_address(asked.gateway)[1]
        try:
            addresses.take(value, "", "gateway")
        except AddressTaken as error:
            raise Failure(f"failed to allocate gateway ({asked.gateway}): {error}") from error
    else:
        try:
            value = addresses.allocate("", "gateway", block=ip_range)
        except Unavailable as error:
            raise Failure(f"failed to allocate gateway (): {error}") from error
    return Pool(str(subnet), ip_range=str(ip_range or ""), gateway=format_address(value, subnet.v6))


def _vnis(request: CreateNetwork, pools: Sequence[Pool], held: Held, last: int) -> tuple[list[int], int]:
    """One for each IPv4 subnet: the user's first, then the next free ones."""
    subnets = [pool.subnet for pool in pools if not pool.is_ipv6]
    given = [_parse_vni(text) for text in _listed(request)][: len(subnets)]
    for at, (vni, subnet) in enumerate(zip(given, subnets, strict=False)):
        owner = held.with_vni(vni)
        if owner is not None or vni in given[:at]:
            whose = f"network {owner.name} has it" if owner else "it is listed twice"
            raise Conflict(f"could not assign vxlan id {vni} to pool {subnet}: {whose}")
    chosen = list(given)
    while len(chosen) < len(subnets):
        last = _next_vni(held, last, chosen)
        chosen.append(last)
    return chosen, last


def _next_vni(held: Held, last: int, chosen: Sequence[int]) -> int:
    for _ in range(len(chosen) + 1):
        found = held.free_vni(last)
        if found is None:
            break
        if found not in chosen:
            return found
        last = found
    raise Unavailable(f"no vxlan id is left: all up to {LAST_VNI} belong to networks")


def _listed(request: CreateNetwork) -> list[str]:
    text = request.options.get(VNI_LIST, "")
    return text.split(",") if text else []


def _parse_vni(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and 0 < int(text) <= LAST_VNI):
        raise InvalidParameter(f'invalid vxlan id value "{text[:100]}" passed: it must be from 1 to {LAST_VNI}')
    return int(text)
