"""Blocks of addresses: leased to nodes and taken back. docs/design/cluster.md, Addresses."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from towline.cluster import codec
from towline.cluster.block_claims import next_epoch, plan_claim
from towline.cluster.contract import Compare, DeleteKey, PutKey
from towline.cluster.feed import Feed
from towline.cluster.liveness import Liveness
from towline.cluster.managing_networks import readable
from towline.cluster.settling import check_settled
from towline.cluster.state import State
from towline.cluster.state_peers import bare
from towline.cluster.transactions import Commits, Transaction, same_life, unchanged
from towline.ipam.blocks import plan_block, plan_block_at
from towline.ipam.prefix import Prefix, parse_address, parse_prefix
from towline.model.cluster import Block
from towline.model.errors import Conflict, InvalidParameter, NotFound, Unavailable
from towline.model.network import Network, Pool

_MOST_NAMED = 20
_PATIENCE = 1.5
"""Seconds that an address is waited for that another node has."""


class Blocks:
    """One lease at a time per network on each manager: the next one is planned on a copy that has the last one."""

    def __init__(self, feed: Feed, commits: Commits, liveness: Liveness) -> None:
        self._feed = feed
        self._commits = commits
        self._liveness = liveness
        self._one: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def lease(self, node_id: str, network_id: str, subnet: str, address: str = "") -> Block:
        """As `contract.Link.lease_block`; NotFound: the network, InvalidParameter: not its subnet. An address that
        another node has may be on its way back: it is waited for, a little."""
        await self._liveness.ensure(node_id)
        await self._feed.confirm(network_id)
        try:
            return await self._lease(node_id, network_id, subnet, address)
        except Conflict:
            if not await self._comes_free(network_id, address):
                raise
            return await self._lease(node_id, network_id, subnet, address)

    async def _comes_free(self, network_id: str, address: str) -> bool:
        wanted = address.partition("/")[0]

        def free(state: State) -> bool:
            return state.networks.get(network_id) is None or state.blocks.holding(network_id, bare(wanted)) is None

        try:
            await self._feed.until(free, _PATIENCE)
        except Unavailable:
            return False
        return free(self._feed.state)

    async def _lease(self, node_id: str, network_id: str, subnet: str, address: str) -> Block:
        planned: list[Block] = []

        def plan(state: State) -> Transaction | None:
            network, pool = _pool(state, network_id, subnet)
            if address and (held := _held(state, network, pool, address)):
                if held.service:
                    raise Conflict(
                        f"address {address} of network {network.name} is the virtual address of service "
                        f"{_service_name(state, held.service)}: choose another"
                    )
                if held.node != node_id or ("/" in address and held.prefix != address):
                    raise _taken(state, network, held, address)
                planned.append(held)
                return None
            block = _next(state, network, pool, address, node_id)
            planned.append(block)
            return _lease(state, block)

        lock = self._one.setdefault(network_id, asyncio.Lock())
        await self._commits.run(
            plan,
            what=f"addresses of network {network_id[:64]} cannot be leased",
            proof=lambda state: bool(planned) and state.blocks.get(planned[-1].id) == planned[-1],
            one=lock,
        )
        return planned[-1]

    async def claim(self, node_id: str, block: Block) -> Block:
        """As `contract.Link.claim_block`; InvalidParameter for what cannot be a block of that subnet."""
        await self._liveness.ensure(node_id)
        await self._feed.confirm(block.network)
        planned: list[Block] = []

        def plan(state: State) -> Transaction | None:
            _, pool = _pool(state, block.network, block.subnet)
            claimed, transaction = plan_claim(state, node_id, block, pool)
            planned.append(claimed)
            return transaction

        lock = self._one.setdefault(block.network, asyncio.Lock())
        await self._commits.run(plan, what=f"block {block.prefix[:64]} cannot be claimed", one=lock)
        return planned[-1]

    async def give_back(self, node_id: str, block: Block) -> None:
        """Nothing happens if this node does not hold it. Conflict while an endpoint of it is published."""
        await self._commits.run(
            lambda state: _return(state, node_id, block.id),
            what=f"block {block.prefix[:64]} cannot be returned",
        )

    def of_node(self, node_id: str) -> list[Block]:
        return self._feed.state.blocks.of_node(node_id)


def _pool(state: State, network_id: str, subnet: str) -> tuple[Network, Pool]:
    readable(state, codec.BLOCK)
    network = state.networks.get(network_id)
    if network is None:
        raise NotFound(f"network {network_id[:64]} not found")
    for pool in network.pools:
        if pool.subnet == subnet:
            return network, pool
    raise InvalidParameter(f"{subnet[:64]!r} is not a subnet of network {network.name}")


def _held(state: State, network: Network, pool: Pool, address: str) -> Block | None:
    """A block that holds the address, or some of the part; InvalidParameter if that is not of the subnet."""
    subnet = parse_prefix(pool.subnet)
    try:
        v6, value = parse_address(address[:64].partition("/")[0])
        part = parse_prefix(address[:64]) if "/" in address else Prefix(v6, value, subnet.bits)
    except ValueError:
        raise InvalidParameter(f"{address[:64]!r} is not an address") from None
    if v6 != subnet.v6 or not subnet.holds(part):
        raise InvalidParameter(f"{address} is not in {pool.subnet} of network {network.name}")
    found = state.blocks.taken(network.id).overlapping(part)
    return None if found is None else state.blocks.get(f"{network.id}/{found}")


def _taken(state: State, network: Network, held: Block, address: str) -> Conflict:
    """Who has it, and where."""
    where = f"node {_named(state, held.node)}" if held.node else "the cluster"
    peer = None if "/" in address else state.peers.holding(network.id, bare(address))
    if peer is not None:
        what = f"{peer.name or 'an endpoint'} ({peer.id[:12]}) on {where} has it"
    else:
        what = f"it is in block {held.prefix} of {where}"
    return Conflict(
        f"Address already in use: {address} of network {network.name}: {what}; choose another, or run it there "
        "(addresses outside of the network's --ip-range are in no node's block)"
    )


def _next(state: State, network: Network, pool: Pool, address: str, node_id: str) -> Block:
    check_settled(state, network.id)
    taken, given_out = state.blocks.taken(network.id), state.blocks.given_out(network.id, pool.subnet)
    prefix: Prefix | None
    if address:
        prefix = plan_block_at(pool, taken, address)
    else:
        prefix = plan_block(pool, taken, given_out)
    if prefix is None:
        raise Unavailable(
            f"no available addresses on this pool: all of {pool.subnet} of network {network.name} is leased "
            f"({_holders(state, network, pool)}); remove endpoints there, or make a network with a larger subnet"
        )
    return Block(network.id, pool.subnet, str(prefix), node_id, next_epoch(state, network.id))


def _lease(state: State, block: Block) -> Transaction:
    guard = codec.blocks_guard(block.network)
    key = codec.block_key(block.network, block.prefix)
    return Transaction(
        when=(
            unchanged(state, guard),
            Compare(key, 0),
            same_life(state, codec.network_key(block.network)),
            same_life(state, codec.alive_key(block.node)),
        ),
        then=(PutKey(guard, codec.encode(codec.Guard())), PutKey(key, codec.encode(block))),
    )


def _return(state: State, node_id: str, block_id: str) -> Transaction | None:
    held = state.blocks.get(block_id)
    if held is None or held.node != node_id:
        return None
    prefix = parse_prefix(held.prefix)
    for peer in state.peers.of_node_on(node_id, held.network):
        if any(cidr and prefix.holds(parse_prefix(bare(cidr))) for cidr in (peer.ipv4, peer.ipv6)):
            raise Conflict(f"block {held.prefix} is in use: endpoint {peer.id} is published with an address of it")
    key = codec.block_key(held.network, held.prefix)
    return Transaction((unchanged(state, key),), (DeleteKey(key),))


def _holders(state: State, network: Network, pool: Pool) -> str:
    counts: dict[str, int] = {}
    for block in state.blocks.of_network(network.id):
        if block.subnet == pool.subnet:
            counts[block.node] = counts.get(block.node, 0) + parse_prefix(block.prefix).size  # "": services
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    named = [
        f"{_named(state, node_id)} has {size} and uses {_used(state, network, pool, node_id)}"
        if node_id
        else f"virtual addresses of services have {size}"
        for node_id, size in most[:_MOST_NAMED]
    ]
    return ", ".join(named) + (f", and {len(most) - _MOST_NAMED} more nodes" if len(most) > _MOST_NAMED else "")


def _used(state: State, network: Network, pool: Pool, node_id: str) -> int:
    """Addresses of the subnet that the node's endpoints have, as far as they are published: those of sandboxes that
    run."""
    subnet = parse_prefix(pool.subnet)
    held = (peer.ipv6 if subnet.v6 else peer.ipv4 for peer in state.peers.of_node_on(node_id, network.id))
    return sum(1 for cidr in held if cidr and subnet.holds(Prefix(*parse_address(bare(cidr)), subnet.bits)))


def _named(state: State, node_id: str) -> str:
    node = state.nodes.get(node_id)
    return node.description.hostname if node and node.description.hostname else node_id


def _service_name(state: State, service_id: str) -> str:
    service = state.services.get(service_id)
    return service.name if service is not None else service_id
