"""WireGuard interfaces of wireguard-go between two hosts, driven by our own code; `wg` and `ip` are witnesses."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.polling import until
from tests.support.wireguard_lab import MARK, PREFIX, End, two_ends
from towline.kernel.wireguard_keys import new_private_key, public_key
from towline.model.errors import KernelError


@pytest.fixture
def pair() -> Iterator[tuple[End, End]]:
    with two_ends() as ends:
        yield ends


@pytest.fixture
def met(pair: tuple[End, End]) -> tuple[End, End]:
    for end in pair:
        end.make()
    pair[0].meet(pair[1])
    pair[1].meet(pair[0])
    return pair


def go_pid(end: End) -> int:
    """The process of its interface."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if command[:1] and command[0].endswith(b"wireguard-go") and end.name.encode() in command:
                return int(entry.name)
    raise AssertionError(f"no wireguard-go has {end.name}")


def test_packets_pass_encrypted_and_the_state_says_so(met: tuple[End, End]) -> None:
    one, two = met
    ear = two.ns.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    try:
        two.ns.call(ear.bind, ("eth0", 0))
        out = one.ns.run(["ping", "-n", "-c3", "-i0.2", "-W3", "-p", "74776c6e", two.address])
        assert " 0% packet loss" in out
        ear.setblocking(False)
        heard = []
        while True:
            try:
                heard.append(ear.recv(65536))
            except BlockingIOError:
                break
    finally:
        ear.close()
    assert len(heard) >= 8, "a handshake, three requests and three answers"
    assert not any(b"twlntwln" in packet for packet in heard)
    state = one.state()
    assert state is not None
    assert (state.public, state.port, state.alias, state.up) == (one.public, one.port, MARK, True)
    assert state.routes == {two.address: one.source, two.source: one.source}
    (peer,) = state.peers
    assert peer.peer.public == two.public
    assert peer.peer.endpoint == ("192.0.2.2", two.port)
    assert set(peer.peer.allowed) == {f"{two.address}/128", f"{two.source}/128"}
    assert peer.handshake > 1e9
    assert min(peer.rx, peer.tx) > 300
    shown = one.ns.run(["wg", "show", one.name, "peers"]).strip()
    assert shown == two.public


def test_ensure_again_changes_nothing_and_mends_what_differs(met: tuple[End, End]) -> None:
    one, two = met
    before = one.state()
    one.make()
    assert one.state() == before
    one.ns.run(["ip", "address", "del", f"{one.source}/128", "dev", one.name])
    one.ns.run(["ip", "link", "set", one.name, "mtu", "1300", "alias", ""])
    one.ns.run(["wg", "set", one.name, "listen-port", "51999"])
    one.make()
    one.meet(two)
    after = one.state()
    assert after is not None
    assert before is not None
    assert (after.mtu, after.alias, after.port, set(after.addresses)) == (
        before.mtu,
        before.alias,
        before.port,
        set(before.addresses),
    )
    assert one.pings(two.address)


def test_a_taken_port_and_a_strange_link_are_refused(pair: tuple[End, End]) -> None:
    one, _ = pair
    taken = one.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM)
    one.ns.call(taken.bind, ("::", one.port))
    try:
        with pytest.raises(KernelError) as refused:
            one.make()
    finally:
        taken.close()
    assert refused.value.errno == errno.EADDRINUSE
    assert one.state() is None
    one.ns.run(["ip", "link", "add", one.name, "type", "bridge"])
    with pytest.raises(KernelError, match="not ours") as refused:
        one.make()
    assert refused.value.errno == errno.EEXIST


def test_a_wrong_key_gets_no_handshake(pair: tuple[End, End]) -> None:
    one, two = pair
    for end in pair:
        end.make()
    one.meet(two)
    stranger = replace(one.as_peer, public=public_key(new_private_key()))
    two.run(two.wg.set_peers(two.name, [stranger], []))
    two.run(two.wg.set_routes(two.name, two.source, [one.address, one.source], []))
    assert not one.pings(two.address, 1)
    state = one.state()
    assert state is not None
    assert state.peers[0].handshake == 0


def test_an_address_moves_from_one_key_to_another_without_loss(met: tuple[End, End]) -> None:
    """As in a rotation of the keys of `two`, while `one` sends to it; then of `one`'s way out."""
    one, two = met
    assert one.pings(two.address)
    old = two.as_peer
    two.take(new_private_key())
    two.make()
    two.meet(one)
    fresh = two.as_peer
    one.run(one.wg.set_peers(one.name, [replace(fresh, allowed=fresh.allowed[:1])], []))
    one.run(one.wg.set_routes(one.name, one.source, [two.source], []))
    assert one.pings(two.source)
    ear = two.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM)
    mouth = one.ns.call(socket.socket, socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        ear.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        ear.bind(("::", 9999))
        ear.settimeout(3)
        for turn in range(40):
            target = (fresh, old)[turn % 2]
            move = replace(target, allowed=(f"{two.address}/128",))
            changing = asyncio.run_coroutine_threadsafe(one.wg.set_peers(one.name, [move], []), one.loop)
            for number in range(turn * 50, turn * 50 + 50):
                mouth.sendto(number.to_bytes(4, "big"), (two.address, 9999))
                time.sleep(0.0002)
            changing.result(5)
        heard = {int.from_bytes(ear.recv(64), "big") for _ in range(2000)}
    finally:
        ear.close()
        mouth.close()
    assert heard == set(range(2000))
    states = [state for name in (one.name,) if (state := one.run(one.wg.read(name)))]
    assert all(peer.tx > 50_000 for state in states for peer in state.peers), "both keys have carried their half"


def test_a_dead_process_is_told_and_started_again(met: tuple[End, End]) -> None:
    one, two = met
    assert one.pings(two.address)
    os.kill(go_pid(one), signal.SIGKILL)
    until(lambda: one.died == [one.name])
    one.make()
    one.meet(two)
    assert one.pings(two.address)
    assert one.run(one.wg.ours()) == [(one.name, MARK)]
    one.run(one.wg.remove(one.name))
    assert one.run(one.wg.ours()) == []
    assert not Path(f"/var/run/wireguard/{one.name}.sock").exists()


def test_what_has_no_route_is_refused(met: tuple[End, End]) -> None:
    one, two = met
    one.run(one.wg.block(PREFIX))
    one.run(one.wg.block(PREFIX))
    assert one.pings(two.address)
    one.run(one.wg.set_routes(one.name, one.source, [], [two.address]))
    assert "unreachable" in one.ns.run(["ip", "-6", "route", "get", two.address], check=False) or not one.pings(
        two.address, 1
    )
    one.run(one.wg.unblock(PREFIX))
    one.run(one.wg.unblock(PREFIX))
    assert PREFIX not in one.ns.run(["ip", "-6", "route"])
