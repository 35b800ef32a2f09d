"""What every node must have once nothing is under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scale.digests import Digests, digest_of_names
from scale.wire import Holding
from towline.cluster.state import State


def short_of_rows(state: State, ids: Mapping[int, str], held: Iterable[Holding]) -> str:
    """Cheap: the first node that has not as many rows as it must have; "" if there is none. ids: of nodes."""
    sizes = {network.id: len(state.peers.of_network(network.id)) for network in state.networks.all()}
    for one in held:
        own: dict[str, int] = {}
        for peer in state.peers.of_node(ids[one.at]):
            own[peer.network] = own.get(peer.network, 0) + 1
        wanted = sum(sizes[network_id] - count for network_id, count in own.items())
        if one.rows != wanted:
            return f"node {one.at} has {one.rows} rows, not {wanted}"
    return ""


def difference(state: State, ids: Mapping[int, str], held: Iterable[Holding]) -> str:
    """The first thing that differs between etcd's records, a node's records and its fake kernel; "" if nothing does.
    A node is compared on the networks that it has endpoints on; on others it has no records."""
    digests = Digests()
    networks = state.networks.all()
    wanted = {n.id: str(sum(map(digests.of, state.peers.of_network(n.id)))) for n in networks}
    names = digest_of_names(wanted)
    for one in held:
        if one.wrong:
            return one.wrong
        if one.networks != names:
            return f"node {one.at} knows other networks"
        mine = {peer.network for peer in state.peers.of_node(ids[one.at])}
        if mine != one.present.keys():
            return f"node {one.at} has endpoints on other networks"
        for network_id in mine:
            if one.present[network_id] != wanted[network_id]:
                return f"endpoints that node {one.at} knows on {network_id}"
    return ""
