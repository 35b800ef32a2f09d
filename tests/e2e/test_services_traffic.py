"""Services on three nodes with real packets: virtual addresses from any host, published ports on every node."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import pytest

from tests.support.boxes import Box, connect, disconnect, make_network, pools, remove, running
from tests.support.equality_cluster import settled
from tests.support.hosts import Host, hosts
from tests.support.netns import Namespace, namespace, veth
from tests.support.polling import eventually, until
from tests.support.services_lab import Servers, ask, names

CLIENT, CLIENT6 = "192.0.2.77", "2001:db8::77"
WAY_OUT = {"name": "docker_gwbridge", "enable_icc": "false", "enable_ip_masquerade": "true"}
PORT = 7000
"""Of the members."""
MANY = 60
"""Connections, of which none goes to one of up to four members once in thirty million times."""


class Cluster(NamedTuple):
    """members: m1 and m2 on the first two hosts, of the service "shop". asker: on the third, of none. client: outside,
    on the hosts' switch."""

    hosts: list[Host]
    members: list[Box]
    asker: Box
    client: Namespace
    servers: Servers


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ExitStack() as stack:
        three = stack.enter_context(hosts(3))
        for host in three:
            way_out_with_ipv6(host)
        three[0].init()
        three[0].docker("swarm", "update", "--dispatcher-heartbeat", "1s")
        for host in three[1:]:
            host.join(three[0])
        ingress_with_ipv6(three[0])
        wide = ("--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64", "wide")
        three[0].docker("network", "create", "-d", "overlay", "--attachable", "--ipv6", *wide)
        ports = ("-p", f"8080:{PORT}", "-p", f"5353:{PORT}/udp")
        three[0].towline("service", "create", "--network", "wide", *ports, "shop")
        client = stack.enter_context(outside(three[0]))
        servers = stack.enter_context(Servers())
        members = [stack.enter_context(member(host, f"m{host.number}", servers)) for host in three[:2]]
        asker = stack.enter_context(running(three[2].daemon, "asker", "wide"))
        yield Cluster(three, members, asker, client, servers)


def way_out_with_ipv6(host: Host) -> None:
    """As an operator makes it, ahead of the cluster, which makes one without."""
    options = {f"com.docker.network.bridge.{key}": value for key, value in WAY_OUT.items()}
    make_network(host.daemon, "docker_gwbridge", Options=options, **pools("172.28.0.0/16", "fd00:28::/64"))


def ingress_with_ipv6(manager: Host) -> None:
    assert manager.daemon.http("DELETE", "/networks/ingress").status == 204
    subnets = pools("10.255.0.0/24", "fd00:255::/64")
    make_network(manager.daemon, "ingress", Driver="overlay", Ingress=True, Scope="swarm", **subnets)


@contextmanager
def outside(host: Host) -> Iterator[Namespace]:
    """On the switch that the host's cable ends in."""
    with namespace() as ns:
        veth(host.switch, "outside", ns, "eth0", b_address=f"{CLIENT}/24")
        ns.run(["ip", "address", "add", f"{CLIENT6}/64", "dev", "eth0", "nodad"])
        host.switch.run(["ip", "link", "set", "outside", "master", "switch"])
        yield ns


@contextmanager
def member(host: Host, name: str, servers: Servers, service: str = "shop") -> Iterator[Box]:
    with running(host.daemon, name, service=service) as box:
        servers.serve(box.ns, name, PORT)
        yield box


def answers(ns: Namespace, addresses: Sequence[str], port: int, *, kind: str = "tcp", count: int = MANY) -> set[str]:
    """All addresses must give the same ones."""
    first, *others = [set(ask(ns, address, port, count, kind=kind)) for address in addresses]
    for address, other in zip(addresses[1:], others, strict=True):
        assert other == first, address
    return first


def reached(ns: Namespace, addresses: Sequence[str], port: int, members: set[str], *, kind: str = "tcp") -> None:
    """Soon these members, and no others, are reached at each of the addresses; from then on nothing fails."""
    for address in addresses:
        eventually(lambda address=address: _assert_names(ns, address, port, members, kind), 20)


def _assert_names(ns: Namespace, address: str, port: int, members: set[str], kind: str) -> None:
    assert names(ask(ns, address, port, MANY, kind=kind)) == members, address


def vips(box: Box) -> list[str]:
    return [*box.ask("shop"), *box.ask("shop", "AAAA")]


def test_every_node_reaches_every_member_and_they_see_the_client(cluster: Cluster) -> None:
    four, six = [host.address for host in cluster.hosts], [host.address6 for host in cluster.hosts]
    for seen, addresses in ((CLIENT, four), (CLIENT6, six)):
        reached(cluster.client, addresses, 8080, {"m1", "m2"})
        assert answers(cluster.client, addresses, 8080) == {f"m1 {seen}", f"m2 {seen}"}
        reached(cluster.client, addresses, 5353, {"m1", "m2"}, kind="udp")


def test_much_data_passes_each_way(cluster: Cluster) -> None:
    for host in cluster.hosts:
        for seen, address in ((CLIENT, host.address), (CLIENT6, host.address6)):
            for answer in ask(cluster.client, address, 8080, 4, echo=100_000):
                assert answer.split()[1] == seen, address


def test_a_host_reaches_it_by_its_own_addresses(cluster: Cluster) -> None:
    for host in cluster.hosts:
        for address in (host.address, "127.0.0.1"):
            assert names(ask(host.net, address, 8080, MANY)) == {"m1", "m2"}, (host.address, address)


def test_sandboxes_reach_it_by_the_addresses_of_nodes(cluster: Cluster) -> None:
    for host in cluster.hosts:
        for box in (cluster.asker, *cluster.members):
            assert names(ask(box.ns, host.address, 8080, 20)) <= {"m1", "m2"}, (box.name, host.address)


def test_networks_of_hosts_may_have_the_same_addresses(cluster: Cluster) -> None:
    """A member and a client on another host are on networks of their own hosts, with the same address there."""
    first, _, third = cluster.hosts
    connect(first.daemon, "bridge", "m1")
    try:
        with running(third.daemon, "local", "bridge") as local:
            assert local.ipv4 == cluster.members[0].address_on("bridge")
            reached(local.ns, [third.address, first.address], 8080, {"m1", "m2"})
        reached(cluster.client, [host.address for host in cluster.hosts], 8080, {"m1", "m2"})
    finally:
        disconnect(first.daemon, "bridge", "m1")
    reached(cluster.client, [host.address for host in cluster.hosts], 8080, {"m1", "m2"})


def test_the_virtual_address_reaches_members_on_all_hosts(cluster: Cluster) -> None:
    found = vips(cluster.asker)
    assert len(found) == 2
    reached(cluster.asker.ns, found, PORT, {"m1", "m2"})
    reached(cluster.asker.ns, found, PORT, {"m1", "m2"}, kind="udp")
    for box in cluster.members:
        reached(box.ns, found, PORT, {"m1", "m2"})
    for address in found:
        cluster.asker.ns.run(["ping", "-c1", "-W5", address])


def test_a_member_that_goes_fails_nobody_and_connections_to_others_stay(cluster: Cluster) -> None:
    host = cluster.hosts[2]
    found = vips(cluster.asker)[0]
    with member(host, "m3", cluster.servers):
        reached(cluster.client, [h.address for h in cluster.hosts], 8080, {"m1", "m2", "m3"})
        reached(cluster.asker.ns, [found], PORT, {"m1", "m2", "m3"})
        held = [opened(cluster.client, h.address, 8080) for h in cluster.hosts for _ in range(6)]
        held += [opened(cluster.asker.ns, found, PORT) for _ in range(6)]
        remove(host.daemon, "m3")
        reached(cluster.client, [h.address for h in cluster.hosts], 8080, {"m1", "m2"})
        reached(cluster.asker.ns, [found], PORT, {"m1", "m2"})
        kept = [(name, sock) for name, sock in held if name != "m3"]
        assert kept
        for name, sock in kept:
            sock.sendall(b"still there?")
            assert sock.recv(100) == b"still there?", name
        for _, sock in held:
            sock.close()


def test_datagrams_of_one_socket_go_to_another_member_when_theirs_is_gone(cluster: Cluster) -> None:
    host, virtual = cluster.hosts[2], vips(cluster.asker)[0]
    ways = [(cluster.client, cluster.hosts[0].address, 5353), (cluster.asker.ns, virtual, PORT)]
    with member(host, "m3", cluster.servers):
        for ns, address, port in ways:
            reached(ns, [address], port, {"m1", "m2", "m3"}, kind="udp")
        talks = [talk_to("m3", ns, address, port) for ns, address, port in ways]
        remove(host.daemon, "m3")
        for talk in talks:
            until(lambda talk=talk: who(talk) in ("m1", "m2"))
            talk.close()


def talk_to(name: str, ns: Namespace, address: str, port: int) -> socket.socket:
    """A datagram socket that this member answers."""
    for _ in range(MANY):
        sock = ns.call(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(1)
        sock.connect((address, port))
        if who(sock) == name:
            return sock
        sock.close()
    raise AssertionError(f"{name} is not reached at {address}")


def who(sock: socket.socket) -> str:
    """ "" if nobody answers."""
    try:
        sock.send(b"who")
        return sock.recv(100).decode().split()[0]
    except OSError:
        return ""


def opened(ns: Namespace, address: str, port: int) -> tuple[str, socket.socket]:
    """An open connection, and the member it is to."""
    sock = ns.call(socket.create_connection, (address, port), 5)
    return sock.recv(100).decode().split()[0], sock


def test_a_daemon_that_is_killed_takes_nothing_along(cluster: Cluster) -> None:
    host = cluster.hosts[1]
    name, sock = opened(cluster.client, host.address, 8080)
    host.daemon.kill()
    assert names(ask(cluster.client, host.address, 8080, 20)) == {"m1", "m2"}
    host.daemon.restart()
    until(lambda: not unsound(host))
    sock.sendall(b"still there?")
    assert sock.recv(100) == b"still there?", name
    sock.close()
    reached(cluster.client, [host.address], 8080, {"m1", "m2"})


def unsound(host: Host) -> list[str]:
    found = host.daemon.http("GET", "/towline/v1/diagnose").json
    return [str(finding) for finding in (found["findings"] if isinstance(found, dict) else found)]


def test_the_members_of_a_node_that_is_lost_are_reached_no_more(cluster: Cluster) -> None:
    first, second, third = cluster.hosts
    second.cut()
    try:
        reached(cluster.client, [first.address, third.address], 8080, {"m1"})
        reached(cluster.asker.ns, vips(cluster.asker), PORT, {"m1"})
    finally:
        second.mend()
    reached(cluster.client, [host.address for host in cluster.hosts], 8080, {"m1", "m2"})


def test_stores_kernels_and_etcd_agree_in_the_end(cluster: Cluster) -> None:
    settled(cluster.hosts[:1], cluster.hosts)
    for host in cluster.hosts:
        until(lambda host=host: not unsound(host))


def test_the_service_goes_and_leaves_nothing(cluster: Cluster) -> None:
    for host in cluster.hosts:
        for network, name in (("ingress", "ingress-endpoint"), ("docker_gwbridge", "gateway_ingress-sbox")):
            shown = json.loads(host.docker("network", "inspect", network))[0]["Containers"]
            assert shown["ingress-sbox"]["Name"] == name
    cluster.hosts[0].towline("service", "rm", "-f", "shop")
    for host in cluster.hosts:
        until(lambda host=host: ask(cluster.client, host.address, 8080) == ["ConnectionRefusedError"])
        until(lambda host=host: b"ingress-sbox" not in host.daemon.http("GET", "/networks/docker_gwbridge").body)
        until(lambda host=host: not unsound(host))
    tables = cluster.asker.ns.run(["nft", "list", "tables"])
    assert "towline-services" not in tables
