"""The kernel's WireGuard through our own codec: the contract that the netns ring runs on wireguard-go."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from tests.support.wireguard_lab import MARK, PREFIX, End, two_ends
from towline.kernel.wireguard_contract import WgPeer
from towline.kernel.wireguard_keys import new_private_key, public_key
from towline.model.errors import KernelError


@pytest.fixture
def met() -> Iterator[tuple[End, End]]:
    with two_ends(userspace=False) as pair:
        for end in pair:
            assert end.wg.kind == "kernel"
            end.make()
        pair[0].meet(pair[1])
        pair[1].meet(pair[0])
        yield pair


def test_packets_pass_and_the_state_says_so(met: tuple[End, End]) -> None:
    one, two = met
    assert one.pings(two.address, 20)
    state = one.state()
    assert state is not None
    assert (state.public, state.port, state.alias, state.up, state.mtu) == (one.public, one.port, MARK, True, 1440)
    assert state.routes == {two.address: one.source, two.source: one.source}
    (peer,) = state.peers
    assert (peer.peer.public, peer.peer.endpoint) == (two.public, ("192.0.2.2", two.port))
    assert set(peer.peer.allowed) == {f"{two.address}/128", f"{two.source}/128"}
    assert peer.handshake > 1e9
    assert min(peer.rx, peer.tx) > 100
    assert one.ns.run(["wg", "show", one.name, "peers"]).strip() == two.public
    assert one.run(one.wg.ours()) == [(one.name, MARK)]
    one.run(one.wg.remove(one.name))
    assert one.state() is None


def test_a_restarted_daemon_finds_it_as_it_was(met: tuple[End, End]) -> None:
    """The interface goes on without anybody; who comes anew changes nothing."""
    one, two = met
    assert one.pings(two.address, 20)
    before = one.state()
    one.run(one.wg.close())
    assert one.pings(two.address, 20)
    one.reopen()
    one.make()
    after = one.state()
    assert after is not None
    assert before is not None
    assert replace(after, peers=()) == replace(before, peers=())
    assert [each.peer for each in after.peers] == [each.peer for each in before.peers]
    assert after.peers[0].handshake == before.peers[0].handshake


def test_an_address_moves_from_one_key_to_another_without_loss(met: tuple[End, End]) -> None:
    one, two = met
    assert one.pings(two.address, 20)
    old = two.as_peer
    two.take(new_private_key())
    two.make()
    two.meet(one)
    fresh = two.as_peer
    one.run(one.wg.set_peers(one.name, [replace(fresh, allowed=fresh.allowed[:1])], []))
    one.run(one.wg.set_routes(one.name, one.source, [two.source], []))
    assert one.pings(two.source, 20)
    with (
        two.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as ear,
        one.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as mouth,
    ):
        ear.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        ear.bind(("::", 9999))
        ear.settimeout(20)
        for number in range(200):
            if number % 20 == 0:
                target = (fresh, old)[number // 20 % 2]
                one.run(one.wg.set_peers(one.name, [replace(target, allowed=(f"{two.address}/128",))], []))
            mouth.sendto(number.to_bytes(4, "big"), (two.address, 9999))
        assert {int.from_bytes(ear.recv(64), "big") for _ in range(200)} == set(range(200))


def test_many_peers_are_told_in_parts_and_read_back(met: tuple[End, End]) -> None:
    one, _ = met
    peers = {}
    for number in range(1, 400):
        public = public_key(new_private_key())
        peers[public] = WgPeer(
            public, ("192.0.2.9", number), (f"fd00:1::{number:x}/128", f"fd00:2::{number:x}/128"), 25
        )
    one.run(one.wg.set_peers(one.name, list(peers.values()), []), 60)
    state = one.state()
    assert state is not None
    found = {each.peer.public: replace(each.peer, allowed=tuple(sorted(each.peer.allowed))) for each in state.peers}
    assert {public: found[public] for public in peers} == peers
    one.run(one.wg.set_peers(one.name, [], list(peers)), 60)
    state = one.state()
    assert state is not None
    assert not {each.peer.public for each in state.peers} & set(peers)


def test_a_taken_port_is_refused(met: tuple[End, End]) -> None:
    one, _ = met
    with one.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        one.take(new_private_key())
        one.ns.call(taken.bind, ("::", one.port))
        with pytest.raises(KernelError) as refused:
            one.make()
    assert refused.value.errno == errno.EADDRINUSE
    assert one.state() is None


def test_what_has_no_route_is_refused(met: tuple[End, End]) -> None:
    one, two = met
    one.run(one.wg.block(PREFIX))
    assert one.pings(two.address, 20)
    one.run(one.wg.set_routes(one.name, one.source, [], [two.address]))
    assert not one.pings(two.address, 2)
    one.run(one.wg.unblock(PREFIX))
    assert PREFIX not in one.ns.run(["ip", "-6", "route"])
