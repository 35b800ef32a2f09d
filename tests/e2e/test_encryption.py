"""Encrypted overlay networks between three hosts: the docker CLI, packets, what the cable shows, keys that change."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

from tests.support.boxes import Box, no_way, remove, running
from tests.support.equality_cluster import etcd_records, settled
from tests.support.flows import flowing
from tests.support.hosts import Host, hosts
from tests.support.netns import Namespace
from tests.support.polling import eventually, until

SECRET = b"towline-in-the-clear"
BLOCK = """
table inet operator {
  chain input { type filter hook input priority -200; udp dport 51820-51835 drop; }
  chain output { type filter hook output priority -200; udp dport 51820-51835 drop; }
}
"""


class Secure(NamedTuple):
    """boxes: one per host on the encrypted network "safe", of two families."""

    hosts: list[Host]
    boxes: list[Box]


@pytest.fixture(scope="module")
def secure() -> Iterator[Secure]:
    with ExitStack() as stack:
        three = stack.enter_context(hosts(3, "--encryption-key-rotation", "500"))
        three[0].init()
        three[0].docker("swarm", "update", "--dispatcher-heartbeat", "1s")
        three[1].join(three[0])
        three[2].join(three[0])
        make = ("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted")
        three[0].docker(*make, "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64", "safe")
        yield Secure(three, [stack.enter_context(running(host.daemon, f"s{host.number}", "safe")) for host in three])


class Tap:
    """Hears all frames on a host's uplink."""

    def __init__(self, ns: Namespace) -> None:
        self._socket = ns.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self._socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        ns.call(self._socket.bind, ("eth0", 3))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def heard(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(65536))
            except BlockingIOError:
                return found


def test_all_reach_each_other_over_both_families(secure: Secure) -> None:
    for box in secure.boxes:
        for peer in secure.boxes:
            if peer is not box:
                for family in (4, 6):
                    eventually(lambda box=box, peer=peer, family=family: _assert_dials(box, peer.address(family)))
    settled(secure.hosts[:1], secure.hosts)


def _assert_dials(box: Box, address: str) -> None:
    assert box.dial(address, 80, 1), f"{box.name} -> {address}"


def test_the_cable_shows_no_word_and_no_plain_vxlan(secure: Secure) -> None:
    one, two, _ = secure.boxes
    tap = Tap(secure.hosts[1].net)
    try:
        server = two.ns.call(socket.create_server, (two.ipv4, 7777))
        with server, one.ns.call(socket.create_connection, (two.ipv4, 7777), 5) as client, server.accept()[0] as far:
            client.sendall(SECRET * 100)
            assert far.recv(len(SECRET)) == SECRET
        frames = [frame for frame in tap.heard() if frame[12:14] in (b"\x08\0", b"\x86\xdd")]
    finally:
        tap.close()
    assert len(frames) > 4
    assert not any(SECRET[:8] in frame for frame in frames)
    ports = {int.from_bytes(frame[36:38], "big") for frame in frames if frame[12:14] == b"\x08\0" and frame[23] == 17}
    assert ports & set(range(51820, 51836))
    assert not ports & {4789, 4790}


def vxlan(vni: int, inner: bytes) -> bytes:
    return b"\x08\0\0\0" + (vni << 8).to_bytes(4, "big") + inner


def forge(source: Host, target: Host, port: int, payload: bytes) -> None:
    """Three UDP datagrams put on the wire by hand, past all rules of the host that sends."""
    source_mac, target_mac = (
        json.loads(host.net.run(["ip", "-j", "link", "show", "eth0"]))[0]["address"] for host in (source, target)
    )
    udp = struct.pack("!HHHH", 55555, port, 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(source.address) + socket.inet_aton(target.address)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    head = head[:10] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + head[12:]
    macs = bytes.fromhex((target_mac + source_mac).replace(":", ""))
    with source.net.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW) as sock:
        for _ in range(3):
            sock.sendto(macs + b"\x08\0" + head + udp, ("eth0", 0))


def dropped(host: Host) -> int:
    """Packets to the port of encrypted networks that came in the clear."""
    chain = json.loads(host.net.run(["nft", "-j", "list", "chain", "inet", "towline", "from_secure"]))["nftables"]
    return sum(
        e["counter"]["packets"] for item in chain for e in item.get("rule", {}).get("expr", []) if "counter" in e
    )


def test_plain_vxlan_with_the_id_of_a_secure_network_reaches_nobody(secure: Secure) -> None:
    """From a node's own address, to either port; the same frame inside WireGuard would arrive."""
    two = secure.boxes[1]
    network = secure.hosts[0].daemon.http("GET", "/networks/safe").json
    vni = int(network["Options"]["com.docker.network.driver.overlay.vxlanid_list"].split(",")[0])
    mac = bytes.fromhex(two.endpoint("safe")["mac"].replace(":", ""))
    inner = mac + bytes.fromhex("020000000099") + b"\x08\0" + b"a frame that nobody encrypted".ljust(60)
    ear = two.ns.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    try:
        two.ns.call(ear.bind, ("eth0", 3))
        before = dropped(secure.hosts[1])
        for port in (4789, 4790):
            forge(secure.hosts[0], secure.hosts[1], port, vxlan(vni, inner))
        with secure.hosts[0].net.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"to the data path", (secure.hosts[1].address, 4789))
            with pytest.raises(PermissionError):  # our own rule: in the clear nothing goes to this port
                sender.sendto(b"to that of encrypted networks", (secure.hosts[1].address, 4790))
        assert secure.boxes[0].dial(two.ipv4, 80), "so that what was sent before has arrived"
        ear.setblocking(False)
        heard = []
        while True:
            try:
                heard.append(ear.recv(65536))
            except BlockingIOError:
                break
    finally:
        ear.close()
    assert dropped(secure.hosts[1]) == before + 3
    assert heard
    assert not any(b"nobody encrypted" in frame for frame in heard)


def test_what_is_to_be_encrypted_never_leaves_in_the_clear(secure: Secure) -> None:
    """Somebody adds a way around WireGuard, and a better route: the packets are dropped, not sent."""
    host, box = secure.hosts[0], secure.boxes[0]
    tap = Tap(host.net)
    try:
        host.net.run(["ip", "-6", "rule", "add", "pref", "10", "table", "77"])
        host.net.run(["ip", "-6", "route", "add", "default", "via", secure.hosts[1].address6, "table", "77"])
        assert no_way(box, secure.boxes[1].ipv4)
        frames = [
            f for f in tap.heard() if f[12:14] == b"\x86\xdd" and f[20] == 17 and f[56:58] == (4790).to_bytes(2, "big")
        ]
        assert frames == []
    finally:
        tap.close()
        host.net.run(["ip", "-6", "rule", "del", "pref", "10"], check=False)
    eventually(lambda: _assert_dials(box, secure.boxes[1].ipv4))


def test_full_size_packets_arrive_and_larger_ones_do_not(secure: Secure) -> None:
    box, peer = secure.boxes[0], secure.boxes[2]
    mtu = json.loads(box.ip("-j", "link", "show", "eth0"))[0]["mtu"]
    assert mtu == 1500 - 130
    for family, header in ((4, 28), (6, 48)):
        ping = ["ping", f"-{family}", "-n", "-c1", "-W5", "-M", "do", "-s"]
        assert " 0% packet loss" in box.ns.run([*ping, str(mtu - header), peer.address(family)], check=False)
        assert " 0% packet loss" not in box.ns.run([*ping, str(mtu - header + 1), peer.address(family)], check=False)


def wg_links(host: Host) -> list[str]:
    return [
        link["ifname"] for link in json.loads(host.net.run(["ip", "-j", "link"])) if link["ifname"].startswith("wg-")
    ]


def test_only_nodes_that_share_a_secure_network_are_peers(secure: Secure) -> None:
    hosts_ = secure.hosts
    hosts_[0].docker("network", "create", "-d", "overlay", "--attachable", "open")
    (name,) = wg_links(hosts_[2])
    assert len(hosts_[2].net.run(["wg", "show", name, "peers"]).split()) == 2


def test_what_is_deleted_by_hand_comes_back(secure: Secure) -> None:
    # WireGuard repeats a handshake that was lost after 5 s.
    host, box, peer = secure.hosts[0], secure.boxes[0], secure.boxes[1]
    (name,) = wg_links(host)
    for public in host.net.run(["wg", "show", name, "peers"]).split():
        host.net.run(["wg", "set", name, "peer", public, "remove"])
    eventually(lambda: _assert_dials(box, peer.ipv4), 20)
    host.net.run(["ip", "link", "del", name])
    eventually(lambda: _assert_dials(box, peer.ipv4), 20)
    host.net.run(["ip", "-6", "route", "flush", "proto", "116"])
    eventually(lambda: _assert_dials(box, peer.ipv4), 20)
    settled(secure.hosts[:1], secure.hosts)


def test_after_kill_and_restart_it_goes_on(secure: Secure) -> None:
    host = secure.hosts[1]
    before = keys_of(secure.hosts[0])
    host.daemon.kill()
    host.daemon.start()
    for peer in (secure.boxes[0], secure.boxes[2]):
        eventually(lambda peer=peer: _assert_dials(peer, secure.boxes[1].ipv4))
        eventually(lambda peer=peer: _assert_dials(secure.boxes[1], peer.ipv6))
    assert keys_of(secure.hosts[0]) == before
    settled(secure.hosts[:1], secure.hosts)


def keys_of(manager: Host) -> dict[str, Any]:
    return {key: record.get("secure") for key, record in etcd_records(manager).items() if key.startswith("node/")}


def test_the_way_to_other_hosts_is_explained(secure: Secure) -> None:
    steps = secure.hosts[0].daemon.http("GET", "/towline/v1/sandboxes/s1/explain").json
    text = json.dumps(steps)
    assert "inside WireGuard to UDP port 4790" in text
    assert "no right row" not in text


def test_a_node_that_starts_while_no_manager_answers_goes_on(secure: Secure) -> None:
    """It knows the others' keys, and in the middle of a rotation its own."""
    manager, host, _ = secure.hosts
    one, two = secure.boxes[1:]
    host.towline("cluster", "rotate-key")
    until(lambda: len(wg_links(host)) == 2)
    manager.daemon.kill()
    host.daemon.kill()
    host.daemon.start()
    eventually(lambda: _assert_dials(one, two.ipv4))
    eventually(lambda: _assert_dials(two, one.ipv6))
    manager.daemon.start()
    until(lambda: len(wg_links(host)) == 1, 40)
    settled(secure.hosts[:1], secure.hosts)


def test_keys_are_private_and_files_closed(secure: Secure) -> None:
    for host in secure.hosts:
        file = host.daemon.data_root / "cluster" / "secure.json"
        assert file.stat().st_mode & 0o777 == 0o600
        for key in json.loads(file.read_text()):
            assert key["private"] not in host.daemon.log
            assert key["private"] not in json.dumps(keys_of(secure.hosts[0]))
            assert key["public"] in json.dumps(keys_of(secure.hosts[0]))


def test_a_rotation_loses_nothing(secure: Secure) -> None:
    """Twice on one host while datagrams go both ways each 2 ms, and TCP connections never rest."""
    one, two, _ = secure.boxes
    host = secure.hosts[0]
    with flowing({"there": (one, two), "back": (two, one)}):
        for _ in range(2):
            before = wg_links(host)
            host.towline("cluster", "rotate-key")
            until(lambda before=before: set(wg_links(host)) > set(before))
            until(lambda before=before: not set(wg_links(host)) & set(before), 40)
    settled(secure.hosts[:1], secure.hosts)


def test_interfaces_go_with_the_last_endpoint(secure: Secure) -> None:
    host = secure.hosts[2]
    remove(host.daemon, "s3")
    until(lambda: wg_links(host) == [])
    for other in secure.hosts[:2]:
        (name,) = wg_links(other)
        until(lambda other=other, name=name: len(other.net.run(["wg", "show", name, "peers"]).split()) == 1)
    until(lambda: "unreachable" not in host.net.run(["ip", "-6", "route"]))
    settled(secure.hosts[:1], secure.hosts)


def test_a_node_that_no_handshake_reaches_is_named(secure: Secure) -> None:
    """Somebody blocks WireGuard's ports between two nodes: `cluster status` says on every node who is not reached."""
    host = secure.hosts[2]
    host.daemon.http("DELETE", "/towline/v1/sandboxes/s3?force=1")  # so that there was no handshake before
    until(lambda: wg_links(host) == [])
    host.net.run(["nft", "-f", "-"], input=BLOCK)
    try:
        with running(host.daemon, "blocked", "safe"):
            until(lambda: "no encrypted handshake with node" in secure.hosts[1].towline("cluster", "status"), 40)
            host.net.run(["nft", "delete", "table", "inet", "operator"])
            until(lambda: "no encrypted handshake" not in secure.hosts[1].towline("cluster", "status"), 40)
    finally:
        host.net.run(["nft", "delete", "table", "inet", "operator"], check=False)


def test_nothing_is_left_after_leaving(secure: Secure) -> None:
    host = secure.hosts[1]
    host.docker("swarm", "leave")
    assert wg_links(host) == []
    assert "proto 116" not in host.net.run(["ip", "-6", "route"])
    assert not (host.daemon.data_root / "cluster").exists()


def test_nodes_on_ipv6_encrypt_too() -> None:
    with ExitStack() as stack:
        two = stack.enter_context(hosts(2))
        two[0].init("--data-path-addr", two[0].address6)
        token = two[0].docker("swarm", "join-token", "-q", "worker").strip()
        where = ["--advertise-addr", two[1].address, "--data-path-addr", two[1].address6]
        two[1].docker("swarm", "join", *where, "--token", token, f"{two[0].address}:2377")
        two[0].docker("network", "create", "-d", "overlay", "--attachable", "--opt", "encrypted", "safe")
        one, other = (stack.enter_context(running(host.daemon, f"v{host.number}", "safe")) for host in two)
        eventually(lambda: _assert_dials(one, other.ipv4))
        assert json.loads(one.ip("-j", "link", "show", "eth0"))[0]["mtu"] == 1500 - 150
        ping = ["ping", "-n", "-c1", "-W5", "-M", "do", "-s", str(1350 - 28), other.ipv4]
        assert " 0% packet loss" in one.ns.run(ping, check=False)
        assert {key["port"] for node in keys_of(two[0]).values() for key in node} == {51820}
