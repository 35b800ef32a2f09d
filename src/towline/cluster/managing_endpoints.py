"""What nodes publish of their endpoints: checked, and written on condition that it is still theirs to write."""

from __future__ import annotations

from collections.abc import Sequence

from towline.cluster import codec
from towline.cluster.contract import Compare, DeleteKey, PutKey
from towline.cluster.feed import Feed
from towline.cluster.liveness import Liveness
from towline.cluster.state import State
from towline.cluster.state_peers import bare
from towline.cluster.transactions import MOST_CHANGES, Commits, Transaction, same_life, unchanged
from towline.model.cluster import Block, Peer
from towline.model.errors import Conflict, Forbidden, InvalidParameter, NotFound
from towline.model.network import Network
from towline.policy.peer import check_peer

_MOST = 16_384
"""Endpoints in one call."""
_CHUNK = MOST_CHANGES // 2 - 2
"""An endpoint is one change and up to two conditions: its own key, and that of its block."""


class Endpoints:
    def __init__(self, feed: Feed, commits: Commits, liveness: Liveness) -> None:
        self._feed = feed
        self._commits = commits
        self._liveness = liveness

    async def publish(self, node_id: str, network_id: str, puts: Sequence[Peer], gone: Sequence[str]) -> int:
        """As `contract.Link.publish`; withdrawals first. Many endpoints are several transactions; after an error the
        whole call may be repeated.

        NotFound: the network. Forbidden: another's endpoint. InvalidParameter: impossible. Conflict: an address that
        is not in a block of this node, or is another endpoint's.
        """
        if len(puts) + len(gone) > _MOST:
            raise InvalidParameter(f"{len(puts) + len(gone)} endpoints in one call, at most {_MOST}")
        await self._liveness.ensure(node_id)
        await self._feed.confirm(network_id)
        wanted: dict[str, Peer | None] = dict.fromkeys(gone)
        wanted.update((peer.id, peer) for peer in puts)
        order = sorted(wanted, key=lambda peer_id: wanted[peer_id] is not None)
        revision = self._feed.state.revision
        for at in range(0, max(len(order), 1), _CHUNK):
            part = {peer_id: wanted[peer_id] for peer_id in order[at : at + _CHUNK]}
            try:
                revision = await self._commit(node_id, network_id, part)
            except (Conflict, Forbidden):
                await self._feed.catch_up()  # the copy may lack what another manager has just written
                revision = await self._commit(node_id, network_id, part)
        return revision

    async def _commit(self, node_id: str, network_id: str, part: dict[str, Peer | None]) -> int:
        return await self._commits.run(
            lambda state: _publication(state, node_id, network_id, part),
            what=f"endpoints of node {node_id} cannot be published",
        )

    def published(self, node_id: str) -> list[Peer]:
        return self._feed.state.peers.of_node(node_id)


def _publication(state: State, node_id: str, network_id: str, wanted: dict[str, Peer | None]) -> Transaction | None:
    network = state.networks.get(network_id)
    if network is None:
        raise NotFound(f"network {network_id[:64]} not found")
    when: list[Compare] = [
        same_life(state, codec.network_key(network_id)),
        same_life(state, codec.alive_key(node_id)),
    ]
    then: list[PutKey | DeleteKey] = []
    blocks: dict[str, Block] = {}
    for peer_id, peer in wanted.items():
        known = state.peers.get(network_id, peer_id)
        if known == peer:
            continue
        if known is not None and known.node != node_id:
            if peer is None:
                continue
            raise Forbidden(f"endpoint {peer_id} on network {network.name} belongs to node {known.node}")
        key = codec.endpoint_key(network_id, peer_id)
        when.append(unchanged(state, key))
        if peer is None:
            then.append(DeleteKey(key))
            continue
        _check(state, node_id, network, peer, wanted, blocks)
        then.append(PutKey(key, codec.encode(peer)))
    when.extend(unchanged(state, codec.block_key(network_id, block.prefix)) for block in blocks.values())
    return Transaction(tuple(when), tuple(then)) if then else None


def _check(
    state: State, node_id: str, network: Network, peer: Peer, wanted: dict[str, Peer | None], blocks: dict[str, Block]
) -> None:
    """Notes the blocks that its addresses are of."""
    check_peer(peer, network, state.nodes[node_id])
    if network.driver != "overlay":
        return  # each node gives out addresses of its own
    for cidr in (peer.ipv4, peer.ipv6):
        if not cidr:
            continue
        address = bare(cidr)
        block = state.blocks.holding(network.id, address)
        if block is None or block.node != node_id:
            whose = f"it is in a block of node {block.node}" if block else "no node has leased it"
            raise Conflict(f"address {address} of network {network.name} is not node {node_id}'s: {whose}")
        blocks[block.id] = block
        holder = state.peers.holding(network.id, address)
        if holder is not None and holder.id != peer.id and wanted.get(holder.id, holder) is not None:
            raise Conflict(f"address {address} of network {network.name} is endpoint {holder.id}'s already")
    holder = state.peers.holding(network.id, peer.mac)
    if holder is not None and holder.node != node_id:
        raise Conflict(f"MAC {peer.mac} is on network {network.name} already, on node {holder.node}")
