"""The indexes of a manager's copy: after any changes, what one made from scratch has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.managers import node, peer
from tests.unit.cluster.test_feed import network
from towline.cluster.state_networks import NetworkIndex
from towline.cluster.state_peers import BlockIndex, PeerIndex
from towline.cluster.state_services import ServiceIndex
from towline.ipam.prefix import parse_prefix
from towline.model.cluster import Block, Peer
from towline.model.network import Network, Pool
from towline.model.service import Service, ServicePort, VirtualIP
from towline.plan.global_network import VNI_LIST

NETWORKS = st.builds(
    lambda at, name, vni, subnet, ingress: network(
        at, name=name, options={VNI_LIST: str(vni)}, pools=(Pool(subnet),), ingress=ingress
    ),
    st.integers(0, 3),
    st.sampled_from(["a", "A", "b"]),
    st.integers(4094, 4099),
    st.sampled_from(["10.0.0.0/24", "10.0.0.0/25", "10.0.0.128/25", "10.1.0.0/16"]),
    st.booleans(),
)
PEERS = st.builds(
    lambda at, net, owner, address: peer(node(owner), f"n{net}", at, f"10.0.0.{address}/24"),
    st.integers(0, 3),
    st.integers(0, 1),
    st.integers(0, 2),
    st.integers(1, 3),
)
BLOCKS = st.builds(
    lambda net, prefix, owner: Block(f"n{net}", "10.0.0.0/24", prefix, node(owner).id),
    st.integers(0, 1),
    st.sampled_from(["10.0.0.0/28", "10.0.0.16/28", "10.0.0.32/27"]),
    st.integers(0, 2),
)


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(NETWORKS, st.booleans()), max_size=12))
def test_networks(steps: list[tuple[Network, bool]]) -> None:
    index, kept = NetworkIndex(), {}
    for each, drop in steps:
        clash = [n for n in kept.values() if n.id != each.id and _share(n, each)]
        if drop:
            index.discard(each.id)
            kept.pop(each.id, None)
        elif not clash:  # managers see to it
            index.put(each)
            kept[each.id] = each
    assert {n.id: n for n in index.all()} == kept
    used = {vni for n in kept.values() for vni in [int(n.options[VNI_LIST])]}
    assert index.free_vni(0) == min(set(range(4096, 4200)) - used)
    assert index.free_vni(4097) == min(set(range(4098, 4200)) - used)
    for each in kept.values():
        assert index.named(each.name.swapcase()) == each
        assert index.with_vni(int(each.options[VNI_LIST])) == each
        assert index.with_subnet(parse_prefix(each.pools[0].subnet)) == each
        assert index.subnets.overlaps(each.pools[0].subnet)
    assert (index.ingress() is None) == (not any(n.ingress for n in kept.values()))
    assert len(index.subnets) == len(kept)


def _share(one: Network, other: Network) -> bool:
    return (
        one.name.lower() == other.name.lower()
        or one.options == other.options
        or parse_prefix(one.pools[0].subnet).holds(parse_prefix(other.pools[0].subnet))
        or parse_prefix(other.pools[0].subnet).holds(parse_prefix(one.pools[0].subnet))
    )


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(PEERS, st.booleans()), max_size=12))
def test_peers(steps: list[tuple[Peer, bool]]) -> None:
    index: PeerIndex = PeerIndex()
    kept: dict[tuple[str, str], Peer] = {}
    for each, drop in steps:
        if drop:
            index.discard(each.network, each.id)
            kept.pop((each.network, each.id), None)
        else:
            index.put(each)
            kept[each.network, each.id] = each
    assert len(index) == len(kept)
    for net in ("n0", "n1"):
        assert {p.id: p for p in index.of_network(net)} == {i: p for (n, i), p in kept.items() if n == net}
        assert (index.any_of_network(net) is None) == (not index.of_network(net))
    for owner in range(3):
        mine = [p for p in kept.values() if p.node == node(owner).id]
        assert sorted(index.of_node(node(owner).id), key=repr) == sorted(mine, key=repr)
        on0 = [p for p in mine if p.network == "n0"]
        assert sorted(index.of_node_on(node(owner).id, "n0"), key=repr) == sorted(on0, key=repr)
    assert set(index.nodes()) == {p.node for p in kept.values()}
    for each in kept.values():
        found = index.holding(each.network, each.ipv4.partition("/")[0])
        assert found is None or found in kept.values()
    if not kept:
        assert index._addresses == {}


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(BLOCKS, st.booleans()), max_size=12))
def test_blocks(steps: list[tuple[Block, bool]]) -> None:
    index: BlockIndex = BlockIndex()
    kept: dict[str, Block] = {}
    for each, drop in steps:
        if drop:
            index.discard(each.id)
            kept.pop(each.id, None)
        else:
            index.put(each)
            kept[each.id] = each
    for net in ("n0", "n1"):
        mine = [b for b in kept.values() if b.network == net]
        assert sorted(index.of_network(net), key=repr) == sorted(mine, key=repr)
        assert index.given_out(net, "10.0.0.0/24") == sum(parse_prefix(b.prefix).size for b in mine)
        assert index.holding(net, "10.0.0.17") == kept.get(f"{net}/10.0.0.16/28")
        assert len(index.taken(net)) == len(mine)
    assert set(index.nodes()) == {b.node for b in kept.values()}
    for each in kept.values():
        assert each in index.of_node(each.node)


SERVICES = st.builds(
    lambda at, name, networks, published, mode: Service(
        f"s{at}", name, 1, networks=networks, vips=(VirtualIP("i"),), ports=(ServicePort(80, published, mode=mode),)
    ),
    st.integers(0, 3),
    st.sampled_from(["a", "A", "b", "c"]),
    st.sets(st.sampled_from(["n0", "n1"])).map(lambda found: tuple(sorted(found))),
    st.integers(1, 4),
    st.sampled_from(["ingress", "host"]),
)


@settings(max_examples=200)
@given(steps=st.lists(st.tuples(SERVICES, st.booleans()), max_size=12))
def test_services(steps: list[tuple[Service, bool]]) -> None:
    index = ServiceIndex()
    kept: dict[str, Service] = {}
    for each, drop in steps:
        if drop:
            index.discard(each.id)
            kept.pop(each.id, None)
        elif not any(s.id != each.id and _contend(s, each) for s in kept.values()):  # managers see to it
            index.put(each)
            kept[each.id] = each
    assert {s.id: s for s in index.all()} == kept
    for name in "abc":
        assert [index.named(name)] == ([s for s in kept.values() if s.name.lower() == name] or [None])
    for port in range(1, 5):
        having = [s for s in kept.values() if any(p.published == port for p in s.ingress_ports)]
        assert [index.publishing("tcp", port)] == (having or [None])
    for net in ("n0", "n1", "i"):
        assert {s.id for s in index.of_network(net)} == {s.id for s in kept.values() if net in (*s.networks, "i")}


def _contend(one: Service, other: Service) -> bool:
    return one.name.lower() == other.name.lower() or bool(set(one.ingress_ports) & set(other.ingress_ports))
