"""Services with real packets: virtual addresses in a client's namespace; the mesh, with the client's address kept."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from tests.support.netns import Namespace, veth
from tests.support.services_lab import Lab, ask, backend, lab, names
from towline.firewall.balance import MeshPort, mesh_elements, mesh_table, services_table, vip_elements
from towline.firewall.returns import RETURN_MARK, RETURN_MASK, Mesh, returns_elements, returns_tables
from towline.model.inner import Detour, Inner
from towline.model.ruleset import AddElements, DeleteElements

VIPS = ("10.0.0.100", "fd00::100")


@pytest.fixture
def wire() -> Iterator[Lab]:
    with lab() as made:
        yield made


def of_vips(*members: int) -> Inner:
    found = [backend(number) for number in members]
    return Inner((services_table(),), tuple(e for vip in VIPS for e in vip_elements(vip, found)))


@pytest.mark.parametrize("vip", VIPS)
def test_a_virtual_address_reaches_every_member(wire: Lab, vip: str) -> None:
    client = wire.host(1)
    for number in (11, 12, 13):
        wire.serve(wire.host(number), f"m{number}", 80)
    wire.write(client, of_vips(11, 12, 13))
    assert names(ask(client, vip, 80, 60)) == {"m11", "m12", "m13"}
    assert names(ask(client, vip, 80, 60, kind="udp")) == {"m11", "m12", "m13"}
    client.run(["ping", "-c1", "-W5", vip])


@pytest.mark.parametrize("vip", VIPS)
def test_without_members_it_refuses_at_once(wire: Lab, vip: str) -> None:
    client = wire.host(1)
    wire.write(client, of_vips())
    assert ask(client, vip, 80) == ["ConnectionRefusedError"]
    assert ask(client, vip, 80, kind="udp") == ["PermissionError"]


@pytest.mark.parametrize("vip", VIPS)
def test_a_member_reaches_itself_by_its_own_virtual_address(wire: Lab, vip: str) -> None:
    member = wire.host(11)
    wire.serve(member, "m11", 80)
    wire.write(member, of_vips(11))
    assert names(ask(member, vip, 80, 3)) == {"m11"}


def test_what_is_open_stays_open_when_members_change(wire: Lab) -> None:
    client = wire.host(1)
    wire.serve(wire.host(11), "m11", 80)
    before, after = of_vips(11), of_vips(12)
    wire.write(client, before)
    made = client.call(socket.create_connection, (VIPS[0], 80), 5)
    with made:
        assert made.recv(100).startswith(b"m11")
        wire.serve(wire.host(12), "m12", 80)
        gone = tuple(e for e in before.elements if e not in after.elements)
        new = tuple(e for e in after.elements if e not in before.elements)
        wire.at_home(lambda rules: rules.commit(client.path, [DeleteElements(gone), AddElements(new)]))
        made.sendall(b"still there?")
        assert made.recv(100) == b"still there?"
        assert names(ask(client, VIPS[0], 80, 20)) == {"m12"}


def test_addresses_that_are_none_of_a_service_are_left_alone(wire: Lab) -> None:
    client = wire.host(1)
    wire.serve(wire.host(11), "m11", 80)
    wire.write(client, of_vips(12))
    assert ask(client, "10.0.0.11", 80, 3) == ["m11 10.0.0.1"] * 3


# the mesh

PUBLISHED = MeshPort("tcp", 8080, 80), MeshPort("udp", 8080, 80)
OUTSIDE = {"client": ("198.51.100.7", "2001:db8:7::7"), "mesh": ("198.51.100.1", "2001:db8:7::1")}
INGRESS_MTU = 1400


class Node:
    """A node's mesh namespace, and a client outside that is behind its other interface."""

    def __init__(self, wire: Lab, number: int) -> None:
        self.mesh = wire.host(number, mtu=INGRESS_MTU)
        self.client = wire.namespace()
        four, six = OUTSIDE["client"], OUTSIDE["mesh"]
        veth(self.mesh, "eth1", self.client, "eth0", a_address=f"{six[0]}/24", b_address=f"{four[0]}/24")
        self.mesh.run(["ip", "address", "add", f"{six[1]}/64", "dev", "eth1", "nodad"])
        self.client.run(["ip", "address", "add", f"{four[1]}/64", "dev", "eth0", "nodad"])
        self.mesh.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
        (link,) = json.loads(self.mesh.run(["ip", "-j", "link", "show", "eth0"]))
        self.own = (f"10.0.0.{number}", f"fd00::{number:x}")
        self.on_wire = Mesh(link["address"], self.own[0])


def member(wire: Lab, number: int, meshes: list[Mesh]) -> Namespace:
    """With another way out, where nobody knows the clients, and a strict kernel that its interface loosens."""
    made, out = wire.host(number, mtu=INGRESS_MTU), wire.namespace()
    veth(made, "eth1", out, "eth0", a_address="172.18.0.3/16", b_address="172.18.0.1/16")
    made.run(["ip", "address", "add", "fd18::3/64", "dev", "eth1", "nodad"])
    made.run(["ip", "route", "add", "default", "via", "172.18.0.1"])
    made.run(["ip", "route", "add", "default", "via", "fd18::1"])
    made.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1", "net.ipv4.conf.eth0.rp_filter=2"])
    detour = Detour("eth0", RETURN_MARK, RETURN_MASK, ipv6=True)
    wire.write(made, Inner(returns_tables("eth0"), returns_elements(meshes), detour))
    return made


def mesh_rules(*members: int) -> Inner:
    found = [backend(number) for number in members]
    elements = tuple(e for port in PUBLISHED for e in mesh_elements(port, found))
    return Inner((mesh_table("eth0", INGRESS_MTU),), elements)


def test_every_node_reaches_every_member_which_sees_the_client(wire: Lab) -> None:
    """Both clients have the same address: only the node through which a request came can answer it."""
    nodes = [Node(wire, 2), Node(wire, 3)]
    for number in (11, 12):
        wire.serve(member(wire, number, [node.on_wire for node in nodes]), f"m{number}", 80)
    for node in nodes:
        wire.write(node.mesh, mesh_rules(11, 12))
    for node in nodes:
        for client, own, address in zip(OUTSIDE["client"], node.own, OUTSIDE["mesh"], strict=True):
            for kind, seen in (("tcp", client), ("udp", own)):
                answers = set(ask(node.client, address, 8080, 30, kind=kind))
                assert answers == {f"m11 {seen}", f"m12 {seen}"}, (kind, address)


def test_much_data_passes_in_both_directions_where_the_ways_have_different_mtus(wire: Lab) -> None:
    node = Node(wire, 2)
    wire.serve(member(wire, 11, [node.on_wire]), "m11", 80)
    wire.write(node.mesh, mesh_rules(11))
    for address in OUTSIDE["mesh"]:
        (answer,) = ask(node.client, address, 8080, echo=100_000)
        assert answer.startswith("m11 ")


def test_the_mesh_is_no_router_for_its_neighbours(wire: Lab) -> None:
    node = Node(wire, 2)
    wire.write(node.mesh, mesh_rules(11))
    neighbour = wire.host(11)
    neighbour.run(["ip", "route", "add", "198.51.100.0/24", "via", "10.0.0.2"])
    node.client.run(["ip", "route", "add", "10.0.0.0/24", "via", OUTSIDE["mesh"][0]])
    wire.serve(node.client, "outside", 80)
    assert ask(neighbour, OUTSIDE["client"][0], 80) == ["TimeoutError"]


def test_a_detour_is_read_back_changed_and_gone(wire: Lab) -> None:
    host = wire.host(11)
    both, one = (Detour("eth0", RETURN_MARK, RETURN_MASK, ipv6=six) for six in (True, False))
    for wanted in (both, one, both, None, None):
        wire.at_home(lambda rules, wanted=wanted: rules.set_detour(host.path, wanted))
        assert wire.at_home(lambda rules: rules.detour(host.path)) == wanted
    host.run(["ip", "link", "delete", "eth0"])


def test_rules_are_read_back_as_they_were_written(wire: Lab) -> None:
    host = wire.host(11)
    inner = Inner(returns_tables("eth0"), returns_elements([Mesh("02:00:00:00:00:07", "10.0.0.2")]))
    wire.write(host, inner)
    states = wire.at_home(lambda rules: rules.read(host.path, [table.id for table in inner.tables]))
    assert isinstance(states, list)
    for table, state in zip(inner.tables, states, strict=True):
        assert state.hooks == {chain.name: chain.hook for chain in table.chains}
        assert state.chains == {chain.name: tuple(rule.name for rule in chain.rules) for chain in table.chains}
        assert state.sets == {"meshes": {e.key: e.data for e in inner.elements if e.table == table.id}}
