"""A block that a node holds by its own word: whose it is, when the cluster's word is another. Pure."""

from __future__ import annotations

from towline.cluster import codec
from towline.cluster.contract import DeleteKey, PutKey
from towline.cluster.state import State
from towline.cluster.state_peers import bare
from towline.cluster.transactions import Transaction, same_life, unchanged
from towline.ipam.blocks import LARGEST
from towline.ipam.prefix import Prefix, parse_prefix
from towline.model.cluster import Block
from towline.model.errors import Conflict, InvalidParameter
from towline.model.network import Pool

_MOST = 40
"""Blocks, and endpoints, that one claim may push aside."""
_ERA_BITS = 32


def next_epoch(state: State, network_id: str) -> int:
    """Of a new lease: higher than that of every earlier one, also where etcd begins to count anew (`Cluster.era`)."""
    era = state.cluster.era if state.cluster is not None else 0
    return (era << _ERA_BITS) + (state.version(codec.blocks_guard(network_id)).modified or 1)


def plan_claim(state: State, node_id: str, claimed: Block, pool: Pool) -> tuple[Block, Transaction | None]:
    """The block as it is afterwards, and how it comes to that. Conflict if it is another's.

    While the cluster settles, the later lease has it: the cluster's word may be older than the node's.
    """
    prefix = _checked(claimed, pool)
    known = state.blocks.get(claimed.id)
    if known is not None and known.node == node_id:
        return known, None
    others = [b for b in state.blocks.of_network(claimed.network) if _overlap(parse_prefix(b.prefix), prefix)]
    for other in others:
        if state.settling is None or other.epoch >= claimed.epoch or not other.node or len(others) > _MOST:
            raise Conflict(f"block {claimed.prefix} is node {other.node or 'no one'}'s by now ({other.prefix})")
    epoch = claimed.epoch if state.settling is not None else next_epoch(state, claimed.network)
    block = Block(claimed.network, claimed.subnet, claimed.prefix, node_id, epoch)
    guard = codec.blocks_guard(claimed.network)
    key = codec.block_key(claimed.network, claimed.prefix)
    pushed = [codec.block_key(other.network, other.prefix) for other in others]
    when = [
        unchanged(state, guard),
        same_life(state, codec.network_key(claimed.network)),
        same_life(state, codec.alive_key(node_id)),
        *(unchanged(state, each) for each in dict.fromkeys([key, *pushed])),
    ]
    then: list[PutKey | DeleteKey] = [DeleteKey(each) for each in pushed if each != key]
    then += [DeleteKey(each) for each in _endpoints(state, claimed.network, prefix, node_id)]
    then += [PutKey(guard, codec.encode(codec.Guard())), PutKey(key, codec.encode(block))]
    return block, Transaction(tuple(when), tuple(then))


def _checked(claimed: Block, pool: Pool) -> Prefix:
    subnet = parse_prefix(pool.subnet)
    try:
        prefix = parse_prefix(claimed.prefix[:64])
    except ValueError:
        raise InvalidParameter(f"{claimed.prefix[:64]!r} is no block of addresses") from None
    within = prefix.v6 == subnet.v6 and subnet.start <= prefix.start and prefix.end <= subnet.end
    if not within or str(prefix) != claimed.prefix or prefix.length < max(LARGEST[subnet.v6], subnet.length):
        raise InvalidParameter(f"{claimed.prefix[:64]} cannot be a block of {pool.subnet}")
    if not 0 < claimed.epoch < 1 << 63:
        raise InvalidParameter(f"{claimed.epoch} cannot be the epoch of a block")
    return prefix


def _overlap(one: Prefix, other: Prefix) -> bool:
    return one.v6 == other.v6 and one.start <= other.end and other.start <= one.end


def _endpoints(state: State, network_id: str, prefix: Prefix, node_id: str) -> list[str]:
    """Keys of other nodes' endpoints with addresses in it."""
    found = []
    for peer in state.peers.of_network(network_id):
        cidrs = [cidr for cidr in (peer.ipv4, peer.ipv6) if cidr]
        if peer.node != node_id and any(prefix.holds(parse_prefix(bare(cidr))) for cidr in cidrs):
            found.append(codec.endpoint_key(network_id, peer.id))
    return found[:_MOST]
