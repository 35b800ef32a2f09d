"""Tunnels and rows: store against kernel, and the repair, over fakes."""

from __future__ import annotations

import errno
from collections.abc import Callable, Collection

import pytest
from msgspec.structs import replace

from towline.control.apply import Applier
from towline.control.compare import Difference, Hold, LetGo, Obstructed, RemoveLink, compare_links
from towline.control.compare_tunnels import compare_rows
from towline.control.forwarding import Forwarding
from towline.control.reconcile import Reconciler
from towline.control.tunnel_acts import MakeTunnel, RepairTunnel, SetRows
from towline.control.work import Realisation, Work
from towline.drivers.overlay import VNI_LIST, UnderlayHolder
from towline.drivers.registry import builtin_drivers
from towline.firewall import base, data_path_elements, vtep_elements
from towline.kernel.contract import VxlanState
from towline.kernel.fake import FakeLinks, FakeSysctl
from towline.kernel.fake_inner import FakeInnerRules
from towline.kernel.fake_nft import FakeNft
from towline.kernel.fake_sandboxes import FakeFlows, FakeSandboxes
from towline.kernel.fake_tunnels import FakeTunnels
from towline.model.cluster import Peer, Underlay
from towline.model.desired import Bridge, Row, Vxlan, kernel_name
from towline.model.endpoint import Endpoint
from towline.model.errors import KernelError
from towline.model.network import Network, Pool
from towline.store.contract import Delete, Put
from towline.store.memory import MemoryStore

ID = "z5nsxvc6w0hkp7e1q8m2b4d9r"
BR, VX = "overlay/br-z5nsxvc6w0hk", "overlay/vx-z5nsxvc6w0hk"
NETWORK = Network(
    ID,
    "ov",
    1,
    "overlay",
    phase="ready",
    scope="swarm",
    pools=(Pool("10.0.1.0/24"),),
    options={VNI_LIST: "4097"},
    link=kernel_name(BR),
)
HERE = Endpoint("e1", "web", ID, ifname="eth0")
P2 = Peer("e2", ID, "n2", "192.0.2.2", "02:00:00:00:00:02", ipv4="10.0.1.2/24")
P3 = Peer("e3", ID, "n3", "192.0.2.3", "02:00:00:00:00:03", ipv4="10.0.1.3/24", ipv6="fd00::3/64")
ROW2 = Row(P2.mac, P2.vtep, ("10.0.1.2",))
ROW3 = Row(P3.mac, P3.vtep, ("10.0.1.3", "fd00::3"))


class Node:
    """A kernel of fakes, a store that knows the network and two peers, and what compares them."""

    def __init__(self) -> None:
        self.sysctl = FakeSysctl()
        self.links = FakeLinks(self.sysctl)
        self.tunnels = FakeTunnels(self.links)
        self.nft = FakeNft()
        self.sandboxes = FakeSandboxes(self.links)
        self.inner = FakeInnerRules(self.sandboxes)
        self.flows = FakeFlows()
        self.store = MemoryStore()
        self.store.update([Put(NETWORK), Put(HERE), Put(P2), Put(P3)])
        self.place = UnderlayHolder(Underlay("192.0.2.1"))
        self.drivers = builtin_drivers(self.place)
        self.leaving: set[str] = set()
        self.reconciler = Reconciler(
            self.store.view(),
            self,
            self.drivers,
            Forwarding(self.sysctl, enabled=False),
            leaving=lambda: self.leaving,
            namespaces="/run/towline/netns",
            namespace_gone=lambda _: None,
            node_elements=lambda: (*data_path_elements(4789), *vtep_elements(["192.0.2.1", "192.0.2.2"])),
        )

    def close(self) -> None:
        pass

    def compare(self) -> list[Difference]:
        return self.reconciler.compare()

    def repair(self) -> None:
        assert self.reconciler.repair(self.compare(), sweep=True) == []

    def rows(self) -> set[Row]:
        return set(self.tunnels.rows(VX))

    def desired(self) -> tuple[Bridge, Vxlan]:
        wanted = self.drivers.desired(NETWORK)
        assert wanted.bridge is not None
        assert wanted.tunnel is not None
        return wanted.bridge, wanted.tunnel


@pytest.fixture
def node() -> Node:
    return Node()


def acts(differences: Collection[Difference], *kinds: type) -> list[object]:
    return [d.act for d in differences if isinstance(d.act, kinds)]


def problems(differences: Collection[Difference]) -> str:
    return " | ".join(d.finding.problem for d in differences)


def test_everything_is_made_once(node: Node) -> None:
    assert f"its tunnel {VX} does not exist" in problems(node.compare())
    node.repair()
    assert node.compare() == []
    assert node.rows() == {ROW2, ROW3}
    link = node.links.links[VX]
    assert (link.vxlan, link.mtu) == (VxlanState(4097, 4789, "192.0.2.1"), 1450)


def test_who_may_send_on_the_data_path_is_compared_too(node: Node) -> None:
    node.repair()
    inet = next(table for table in node.nft.tables if table.family == "inet")
    held = node.nft.tables[inet].elements
    assert set(held["vteps4"]) == {bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2))}
    held["vteps4"].pop(bytes((192, 0, 2, 2)))
    held["vteps4"][bytes((203, 0, 113, 9))] = b""
    assert {d.finding.problem for d in node.compare()} == {
        "1 element in vteps4 missing",
        "1 element in vteps4 that no network needs",
    }
    node.repair()
    assert node.compare() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda link: replace(link, up=False), "is down"),
        (lambda link: replace(link, mtu=1400), "MTU is 1400, not 1450"),
        (lambda link: replace(link, mac="02:00:00:00:00:99"), "MAC is 02:00:00:00:00:99"),
        (lambda link: replace(link, alias=""), "our mark is missing"),
        (lambda link: replace(link, master=0), f"is not plugged into {BR}"),
        (lambda link: replace(link, vxlan=VxlanState(1, 4789, "192.0.2.1")), "VXLAN id is 1, not 4097"),
        (lambda link: replace(link, vxlan=VxlanState(4097, 1, "192.0.2.1")), "port is 1, not 4789"),
        (lambda link: replace(link, vxlan=VxlanState(4097, 4789, "")), "local address is none, not 192.0.2.1"),
        (lambda link: replace(link, vxlan=VxlanState(4097, 4789, "192.0.2.1", plain=False)), "it learns"),
    ],
)
def test_a_device_that_is_wrong_is_corrected_and_gets_its_rows(
    node: Node, change: Callable[[object], object], words: str
) -> None:
    node.repair()
    node.links.links[VX] = change(node.links.links[VX])
    node.tunnels.tables[VX].neighbours.clear()
    found = node.reconciler.compare_link(VX)
    assert len(found) == 1
    assert words in found[0].finding.problem
    assert acts(found, RepairTunnel) == acts(node.compare(), RepairTunnel)
    node.repair()
    assert node.compare() == []
    assert node.rows() == {ROW2, ROW3}


def test_a_device_follows_the_underlay(node: Node) -> None:
    node.repair()
    node.place.underlay = Underlay("192.0.2.77", 4790, 9000)
    assert "local address is 192.0.2.1, not 192.0.2.77" in problems(node.compare())
    node.repair()
    assert node.compare() == []
    assert node.links.links[VX].vxlan == VxlanState(4097, 4790, "192.0.2.77")


def test_a_foreign_link_of_that_name_is_left_alone(node: Node) -> None:
    node.links.add_foreign(VX, "veth")
    (found,) = (d for d in node.compare() if isinstance(d.act, Obstructed))
    assert "stands where its tunnel should" in found.finding.problem
    node.reconciler.repair(node.compare(), sweep=True)
    assert node.links.links[VX].kind == "veth"


def test_a_tunnel_that_nobody_wants_is_swept(node: Node) -> None:
    node.repair()
    node.store.update([Delete(Network, ID)])
    swept = {d.act.name for d in node.compare() if d.sweep and hasattr(d.act, "name")}
    assert swept == {BR, VX}


def test_a_tunnel_on_its_way_out_is_no_difference(node: Node) -> None:
    node.repair()
    node.leaving.add(VX)
    assert node.reconciler.compare_link(VX) == []
    assert node.reconciler.compare_rows_of(VX) == []


@pytest.mark.parametrize(
    ("spoil", "act"),
    [
        (lambda t: t.fdb.pop(P2.mac), SetRows(VX, (ROW2,))),
        (lambda t: t.fdb.update({P2.mac: "192.0.2.66"}), SetRows(VX, (ROW2,))),
        (lambda t: t.neighbours.pop("fd00::3"), SetRows(VX, (ROW3,))),
        (lambda t: t.neighbours.update({"10.0.1.2": "02:00:00:00:00:66"}), SetRows(VX, (ROW2,))),
        (
            lambda t: t.fdb.update({"02:00:00:00:00:66": "192.0.2.66"}),
            SetRows(VX, (), (Row("02:00:00:00:00:66", "192.0.2.66"),)),
        ),
        (
            lambda t: t.neighbours.update({"10.0.1.66": P2.mac}),
            SetRows(VX, (), (Row(P2.mac, "", ("10.0.1.66",)),)),
        ),
        (
            lambda t: t.neighbours.update({"10.0.1.66": "02:00:00:00:00:66"}),
            SetRows(VX, (), (Row("02:00:00:00:00:66", "", ("10.0.1.66",)),)),
        ),
    ],
)
def test_rows_are_set_right_by_one_act(node: Node, spoil: Callable[[object], object], act: SetRows) -> None:
    node.repair()
    assert node.reconciler.concerns(VX)
    assert node.reconciler.compare_rows_of(VX) == []
    spoil(node.tunnels.tables[VX])
    assert acts(node.reconciler.compare_rows_of(VX), SetRows) == [act]
    assert acts(node.compare(), SetRows) == [act]
    node.repair()
    assert node.rows() == {ROW2, ROW3}
    assert node.compare() == []


def test_several_rows_of_nobodys_mac_all_go() -> None:
    tunnel = Vxlan(VX, "", "", 4097, 4789, "192.0.2.1", 1450, BR)
    nobody = [Row("00:00:00:00:00:00", f"192.0.2.{i}") for i in (7, 8)]
    found = compare_rows(NETWORK, tunnel, [ROW2], [ROW2, *nobody])
    assert found is not None
    assert found.act == SetRows(VX, (), tuple(nobody))
    assert not found.sweep
    assert found.finding.problem == f"tunnel {VX}: 2 rows too many"


def test_names_that_concern_nobody(node: Node) -> None:
    assert not node.reconciler.concerns("vx-000000000000")
    assert not node.reconciler.concerns("vx-")
    assert not node.reconciler.concerns(kernel_name(VX))
    assert node.reconciler.compare_rows_of("eth0") == []


def test_outside_a_cluster_nothing_is_wanted(node: Node) -> None:
    node.repair()
    node.place.underlay = None
    assert not node.reconciler.compare_rows_of(VX)
    assert {d.act.name for d in node.compare() if d.sweep and hasattr(d.act, "name")} == {BR, VX}


def test_what_another_release_made_in_the_hosts_namespace_goes(node: Node) -> None:
    """Same names, same marks; the ones that are wanted are made beside them first."""
    node.repair()
    for name in (BR, VX):
        link = node.links.links[name]
        node.links.links[kernel_name(name)] = replace(link, name=kernel_name(name), index=link.index + 100, vxlan=None)
    assert {d.act for d in node.compare()} == {RemoveLink(kernel_name(BR)), RemoveLink(kernel_name(VX))}
    assert all(d.sweep for d in node.compare())
    node.repair()
    assert set(node.links.links) == {BR, VX}


def test_what_is_there_without_a_mark_is_ours(node: Node) -> None:
    """As a crash leaves it that came between a tunnel and its alias; the kernel's own links are another matter."""
    node.repair()
    node.links.add_foreign("overlay/sit0", "sit")
    node.links.add_foreign("overlay/vx-000000000000", "vxlan")
    node.links.add_foreign("vx-000000000000", "vxlan")
    assert [d.act for d in node.compare()] == [RemoveLink("overlay/vx-000000000000")]


def test_the_namespace_is_pinned_while_a_network_is_in_it(node: Node) -> None:
    node.repair()
    assert node.links.pinned
    node.links.pinned = False
    assert [d.act for d in node.compare()] == [Hold()]
    node.repair()
    assert node.links.pinned
    node.place.underlay = None
    node.repair()
    assert not node.links.pinned
    assert node.compare() == []
    node.links.pinned = True
    assert [d.act for d in node.compare()] == [LetGo()]
    node.repair()
    assert not node.links.pinned


def test_a_refused_repair_is_told(node: Node) -> None:
    node.links.create_bridges([node.desired()[0]])
    node.tunnels.faults.fail("put_row", errno.ENOBUFS)
    (error,) = node.reconciler.repair([d for d in node.compare() if isinstance(d.act, MakeTunnel)], sweep=False)
    assert isinstance(error, KernelError)
    assert error.errno == errno.ENOBUFS
    node.repair()
    assert node.rows() == {ROW2, ROW3}


def test_compare_links_alone_passes_tunnels_over(node: Node) -> None:
    node.repair()
    made, tunnel = node.desired()
    assert compare_links([(NETWORK, made)], [], node.links.dump(), [], [tunnel]) == []


# making and removing


class Chores:
    def __init__(self, node: Node) -> None:
        self.retired: list[str] = []
        self.reclaimed: list[str] = []
        self.repairs = 0
        self.applier = Applier(
            node.store,
            node,
            forwarding=Forwarding(node.sysctl, enabled=False),
            sweeper=None,  # type: ignore[arg-type]
            retire=self.retired.extend,
            reclaim=self.reclaim,
            need_repair=self.need_repair,
        )
        self._node = node

    def reclaim(self, name: str) -> None:
        if name in self.retired:
            self.retired.remove(name)
            self.reclaimed.append(name)
            self._node.links.remove([name])

    def need_repair(self) -> None:
        self.repairs += 1


@pytest.fixture
def chores(node: Node) -> Chores:
    node.nft.commit([])
    node.reconciler.repair(node.reconciler.compare_rules(), sweep=True)
    return Chores(node)


def realisation(node: Node, network: Network = NETWORK) -> Realisation:
    return Realisation(network, node.drivers.desired(network))


def test_a_work_makes_a_tunnel_with_its_rows_and_takes_it_away(node: Node, chores: Chores) -> None:
    assert chores.applier.apply([Work([Put(HERE)], creates=(realisation(node),))]) == [None]
    assert node.rows() == {ROW2, ROW3}
    assert node.compare() == []
    assert chores.applier.apply([Work([], removes=(realisation(node),), final=True)]) == [None]
    assert not node.links.links[VX].up
    assert sorted(chores.retired) == [BR, VX]
    assert chores.applier.apply([Work([Put(HERE)], creates=(realisation(node),))]) == [None]
    assert sorted(chores.reclaimed) == [BR, VX]
    assert node.rows() == {ROW2, ROW3}


def test_another_network_may_have_the_vxlan_id_of_one_that_is_leaving(node: Node, chores: Chores) -> None:
    other = replace(NETWORK, id="y" * 25, name="other", link="br-" + "y" * 12)
    assert chores.applier.apply([Work([Put(HERE)], creates=(realisation(node),))]) == [None]
    (refused,) = chores.applier.apply([Work([Put(HERE)], creates=(realisation(node, other),))])
    assert isinstance(refused, KernelError)
    assert refused.errno == errno.EEXIST
    assert chores.applier.apply([Work([], removes=(realisation(node),), final=True)]) == [None]
    assert chores.applier.apply([Work([Put(HERE)], creates=(realisation(node, other),))]) == [None]
    assert VX in chores.reclaimed


def test_a_refused_tunnel_takes_its_bridge_with_it(node: Node, chores: Chores) -> None:
    node.tunnels.faults.fail("create", errno.ENOMEM)
    (refused,) = chores.applier.apply([Work([Put(HERE)], creates=(realisation(node),))])
    assert isinstance(refused, KernelError)
    assert refused.operation == f"create tunnel {VX}"
    assert chores.retired == [BR]
    assert not node.links.links[BR].up


def test_a_foreign_link_survives_the_undo(node: Node, chores: Chores) -> None:
    node.links.add_foreign(VX, "veth")
    (refused,) = chores.applier.apply([Work([Put(HERE)], creates=(realisation(node),))])
    assert f"link {VX} of this host stands where" in str(refused)
    assert node.links.links[VX].up
    assert VX not in chores.retired


def test_a_row_that_is_refused_is_drift_and_no_failure(node: Node, chores: Chores) -> None:
    node.tunnels.faults.fail("put_row", errno.ENOBUFS)
    assert chores.applier.apply([Work([Put(HERE)], creates=(realisation(node),))]) == [None]
    assert chores.repairs == 1
    assert node.rows() == {ROW3}


def test_the_base_knows_the_sets() -> None:
    names = {item.name for table in base() for item in table.sets}
    assert {"vxlan_ports", "vteps4", "vteps6"} <= names
