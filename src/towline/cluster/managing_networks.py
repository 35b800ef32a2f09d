"""Global networks: created and removed by a manager, each in one transaction. docs/design/cluster.md, Keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from towline.cluster import codec
from towline.cluster.contract import Compare, DeleteKey, PutKey
from towline.cluster.feed import Feed
from towline.cluster.state import State
from towline.cluster.transactions import Commits, Transaction, unchanged
from towline.ipam.blocks import reserved_addresses
from towline.ipam.prefix import parse_prefix
from towline.model.errors import Unavailable
from towline.model.network import Network, SubnetStatus
from towline.model.requests import CreateNetwork
from towline.plan.global_network import plan_global_network
from towline.plan.service import blocks_of
from towline.policy.global_network import admit_global_network, check_global_removal
from towline.policy.rpc import refusal

_UINT64_MAX = (1 << 64) - 1


class Networks:
    """One at a time on each manager: the next one is planned on a copy that has the last one."""

    def __init__(self, feed: Feed, commits: Commits, *, new_id: Callable[[], str], clock: Callable[[], int]) -> None:
        self._feed = feed
        self._commits = commits
        self._new_id = new_id
        self._clock = clock
        self._one = asyncio.Lock()

    async def create(self, request: CreateNetwork) -> Network:
        """The record, ready. Errors of `policy.global_network` and `plan.global_network`; Unavailable without etcd."""
        network_id, now = self._new_id(), self._clock()
        planned: list[Network] = []

        def plan(state: State) -> Transaction:
            network, then = _creation(state, request, network_id, now)
            planned.append(network)
            return then

        await self._commits.run(
            plan,
            what=f"network {request.name[:64]} cannot be created",
            proof=lambda state: state.networks.get(network_id) is not None,
            one=self._one,
        )
        return self._feed.state.networks.get(network_id) or planned[-1]

    async def remove(self, network_id: str) -> None:
        """Its blocks go with it. NotFound, InvalidParameter (Docker's 400) while it is in use."""
        await self._commits.run(
            lambda state: _removal(state, network_id),
            what=f"network {network_id[:64]} cannot be removed",
            proof=lambda state: state.networks.get(network_id) is None,
        )

    def statuses(self, network_id: str) -> Mapping[str, SubnetStatus]:
        """Docker's counters by subnet; empty for a network that is not there, or has no subnets."""
        return subnet_statuses(self._feed.state, network_id)


def subnet_statuses(state: State, network_id: str) -> dict[str, SubnetStatus]:
    """used: the subnet's own addresses, its gateway, published endpoints, virtual addresses; free: in its range.
    Both saturate."""
    network = state.networks.get(network_id)
    if network is None:
        return {}
    addresses = [
        parse_prefix(cidr.partition("/")[0])
        for peer in state.peers.of_network(network_id)
        for cidr in (peer.ipv4, peer.ipv6)
        if cidr
    ]
    vips = (service.vip_on(network_id) for service in state.services.of_network(network_id))
    addresses += [parse_prefix(prefix) for vip in vips if vip is not None for _, prefix in blocks_of([vip])]
    found = {}
    for pool in network.pools:
        subnet = parse_prefix(pool.subnet)
        span = parse_prefix(pool.ip_range) if pool.ip_range else subnet
        held = {address.start for address in addresses if subnet.holds(address)} | set(reserved_addresses(pool))
        free = span.size - sum(span.start <= address <= span.end for address in held)
        found[pool.subnet] = SubnetStatus(used=min(len(held), _UINT64_MAX), free=min(free, _UINT64_MAX))
    return found


def _creation(state: State, request: CreateNetwork, network_id: str, now: int) -> tuple[Network, Transaction]:
    readable(state, codec.NETWORK)
    if state.cluster is None:
        raise Unavailable("this manager does not know its cluster yet; try again")
    admitted = admit_global_network(request, state.networks)
    network, last_vni = plan_global_network(
        admitted, state.cluster, state.networks, network_id=network_id, now=now, last_vni=state.last_vni
    )
    return network, creation(state, network, last_vni)


def creation(state: State, network: Network, last_vni: int) -> Transaction:
    key = codec.network_key(network.id)
    return Transaction(
        when=(unchanged(state, codec.NETWORKS_GUARD), Compare(key, 0)),
        then=(
            PutKey(codec.NETWORKS_GUARD, codec.encode(codec.Guard(last_vni))),
            PutKey(key, codec.encode(network)),
        ),
    )


def _removal(state: State, network_id: str) -> Transaction:
    network = state.networks.get(network_id)
    if network is None:
        raise refusal("NotFound", f"network {network_id[:64]} not found")
    services = state.services.of_network(network_id)
    check_global_removal(network, state.peers.any_of_network(network_id), services[0] if services else None)
    key = codec.network_key(network_id)
    return Transaction(
        when=(
            unchanged(state, key),
            unchanged(state, codec.NETWORKS_GUARD),
            unchanged(state, codec.SERVICES_GUARD),
            Compare(codec.endpoints_prefix(network_id), 0, prefix=True),
        ),
        then=(
            DeleteKey(key),
            DeleteKey(codec.blocks_prefix(network_id), prefix=True),
            DeleteKey(codec.blocks_guard(network_id)),
            PutKey(codec.NETWORKS_GUARD, codec.encode(codec.Guard(state.last_vni))),
        ),
    )


def readable(state: State, kind: str) -> None:
    """Unavailable if a record of this kind cannot be read: what it holds might be given twice."""
    for key, why in state.unreadable.items():
        if codec.split_key(key)[0] in (kind, codec.GUARD):
            raise Unavailable(f"this manager cannot read all {kind}s of the cluster: {why}")
