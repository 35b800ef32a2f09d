"""Who is a peer of which WireGuard interface, from what nodes say: as pure functions, hostile words included."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from towline.control.secure_plan import KEEPALIVE, changes, confirmed, plan, route_changes, unheard
from towline.kernel.wireguard_contract import WgPeer, WgPeerState, WgState
from towline.model.cluster import Node
from towline.model.secure import HeldKey, SecureKey, key_address, key_text, node_address, secure_prefix

PREFIX = secure_prefix("c" * 25)
NOW = 1_000_000.0


def key(number: int) -> str:
    return key_text(bytes([number]) * 32)


def node(number: int, *keys: int, data_path: str = "", **fields: object) -> Node:
    secure = tuple(SecureKey(key(each), 51820 + i) for i, each in enumerate(keys))
    found = Node(f"node{number}", number, data_path=data_path or f"192.0.2.{number}", secure=secure)
    return replace(found, **fields)


def held(number: int, made: float = 1.0) -> HeldKey:
    return HeldKey(key(200), key(number), 51820, made)


def planned(*nodes: Node, keys: tuple[HeldKey, ...] = (held(100),)) -> dict[str, dict[str, WgPeer]]:
    return plan(PREFIX, "node0", keys, {each.id: each for each in nodes}, [each.id for each in nodes]).peers


def test_a_node_is_a_peer_by_each_of_its_keys_and_reached_by_the_first() -> None:
    found = plan(PREFIX, "node0", (held(100),), {"node1": node(1, 1, 2)}, ["node1", "node7"])
    one, two = found.peers[held(100).name].values()
    assert one == WgPeer(
        key(1),
        ("192.0.2.1", 51820),
        (f"{key_address(PREFIX, key(1))}/128", f"{node_address(PREFIX, 'node1')}/128"),
        KEEPALIVE,
    )
    assert two == WgPeer(key(2), ("192.0.2.1", 51821), (f"{key_address(PREFIX, key(2))}/128",), 0)
    assert set(found.ways) == {key_address(PREFIX, key(1)), key_address(PREFIX, key(2)), node_address(PREFIX, "node1")}
    assert found.keyless == ("node7",)


def test_only_those_that_share_a_network_are_peers() -> None:
    nodes = {each.id: each for each in (node(1, 1), node(2, 2))}
    found = plan(PREFIX, "node0", (held(100),), nodes, ["node2"])
    assert list(found.peers[held(100).name]) == [key(2)]


def test_this_node_is_nobodys_peer() -> None:
    found = plan(PREFIX, "node0", (held(100),), {"node0": node(0, 100)}, ["node0"])
    assert (found.peers[held(100).name], found.ways, found.keyless) == ({}, (), ())


@pytest.mark.parametrize(
    "bad",
    [
        node(2, 1),  # the key of an older node
        node(2, 100),  # this node's own
        node(2, 2, data_path="::"),
        node(2, 2, data_path="224.0.0.1"),
        node(2, 2, data_path="fe80::1%eth0"),
        node(2, 2, data_path="nonsense"),
        node(2, 2, secure=(SecureKey("x" * 44, 1),)),
        node(2, 2, secure=(SecureKey(key(2), 70000),)),
        node(2, 2, 3, 4),
        node(2),
    ],
)
def test_a_strangers_word_harms_nobody(bad: Node) -> None:
    found = plan(PREFIX, "node0", (held(100),), {"node1": node(1, 1), "node2": bad}, ["node1", "node2"])
    assert list(found.peers[held(100).name]) == [key(1)]
    assert found.keyless == ("node2",)
    assert node_address(PREFIX, "node2") not in found.ways


@pytest.mark.parametrize(
    ("told", "read"), [("2001:DB8:0::1", "2001:db8::1"), ("::ffff:c000:201", "::ffff:192.0.2.1"), ("192.0.2.1",) * 2]
)
def test_an_address_is_set_as_it_is_read_back(told: str, read: str) -> None:
    (peer,) = planned(node(1, 1, data_path=told))[held(100).name].values()
    assert peer.endpoint == (read, 51820)


def test_the_older_node_has_the_key_whatever_the_order() -> None:
    thief, owner = node(5, 1), node(1, 1)
    for nodes in ((thief, owner), (owner, thief)):
        (peer,) = planned(*nodes)[held(100).name].values()
        assert peer.endpoint == ("192.0.2.1", 51820)


def test_words_go_by_the_key_in_use_and_by_the_one_to_come_not_by_the_old_one() -> None:
    current, coming, old = held(100, 5.0), held(101, 9.0), held(102, 1.0)
    found = planned(node(1, 1), keys=(current, coming))
    assert [found[each.name][key(1)].keepalive for each in (current, coming)] == [KEEPALIVE, KEEPALIVE]
    found = planned(node(1, 1), keys=(current, old))
    assert [found[each.name][key(1)].keepalive for each in (current, old)] == [KEEPALIVE, 0]


def state(*peers: WgPeerState, routes: dict[str, str] | None = None) -> WgState:
    return WgState("wg-1", "", True, 1440, key(100), 51820, peers=peers, routes=routes or {})


PEER = WgPeer(key(1), ("192.0.2.1", 51820), ("fd00::1/128", "fd00::2/128"), 25)


def test_what_is_right_is_left_alone() -> None:
    assert changes({key(1): PEER}, state(WgPeerState(PEER, NOW)), NOW, {}) == ([], [])


@pytest.mark.parametrize(
    "found",
    [
        replace(PEER, allowed=("fd00::1/128",)),
        replace(PEER, keepalive=0),
        replace(PEER, endpoint=None),
    ],
)
def test_what_differs_is_put(found: WgPeer) -> None:
    assert changes({key(1): PEER}, state(WgPeerState(found)), NOW, {}) == ([PEER], [])


def test_an_endpoint_that_wireguard_found_out_stays_while_it_answers() -> None:
    roamed = replace(PEER, endpoint=("198.51.100.9", 7))
    told = {key(1): PEER.endpoint} if PEER.endpoint else {}
    assert changes({key(1): PEER}, state(WgPeerState(roamed, NOW - 10)), NOW, told) == ([], [])
    assert changes({key(1): PEER}, state(WgPeerState(roamed, NOW - 200)), NOW, told) == ([PEER], [])
    assert changes({key(1): PEER}, state(WgPeerState(roamed, NOW - 10)), NOW, {}) == ([PEER], [])


def test_strangers_and_their_addresses_go() -> None:
    stranger = WgPeer(key(9), None, ("fd00::1/128",))
    assert changes({}, state(WgPeerState(stranger)), NOW, {}) == ([], [key(9)])
    widened = replace(PEER, allowed=(*PEER.allowed, "::/0"))
    assert changes({key(1): PEER}, state(WgPeerState(widened, NOW)), NOW, {}) == ([PEER], [key(1)])


def test_an_address_on_its_way_to_another_key_is_no_reason_to_begin_anew() -> None:
    old = WgPeer(key(1), None, ("fd00::1/128",), 0)
    new = WgPeer(key(2), None, ("fd00::2/128", "fd00::9/128"), 25)
    before = state(
        WgPeerState(replace(old, allowed=("fd00::1/128", "fd00::9/128"))),
        WgPeerState(replace(new, allowed=("fd00::2/128",))),
    )
    assert changes({key(1): old, key(2): new}, before, NOW, {}) == ([new], [])


def test_routes_follow_with_their_source() -> None:
    found = state(routes={"fd00::1": "fd00::a", "fd00::2": "fd00::b", "fd00::3": "fd00::a"})
    assert route_changes(["fd00::1", "fd00::2"], "fd00::a", found) == (["fd00::2"], ["fd00::3"])


def test_who_is_not_heard_of_is_told_when_it_is_time() -> None:
    peers = {key(1): PEER}
    never, lately, long_ago = (state(WgPeerState(PEER, when)) for when in (0.0, NOW - 100, NOW - 181))
    assert unheard(peers, never, NOW, {key(1): NOW - 14}) == []
    assert unheard(peers, never, NOW, {key(1): NOW - 16}) == [key(1)]
    assert unheard(peers, lately, NOW, {key(1): 0.0}) == []
    assert unheard(peers, long_ago, NOW, {key(1): 0.0}) == [key(1)]
    assert unheard({key(1): replace(PEER, keepalive=0)}, never, NOW, {key(1): 0.0}) == []


def test_a_key_is_confirmed_by_handshakes_with_all_that_are_up() -> None:
    peers = {key(1): PEER, key(2): replace(PEER, public=key(2)), key(3): replace(PEER, public=key(3), keepalive=0)}
    half = state(WgPeerState(PEER, NOW), WgPeerState(peers[key(2)]), WgPeerState(peers[key(3)]))
    assert not confirmed(peers, half, ())
    assert confirmed(peers, half, {key(2)})
    assert confirmed({}, half, ())
