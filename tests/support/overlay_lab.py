"""Hosts as namespaces on one switch, joined by overlay networks that our own code makes; containers behind them.

No daemon: the driver says what must be, the kernel's contracts make it, rows come from the records of peers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from tests.support.netns import Namespace, namespace, veth
from towline.drivers.contract import Driver
from towline.drivers.overlay import VNI_LIST, UnderlayHolder
from towline.drivers.registry import builtin_drivers
from towline.firewall import OVERLAY, base, data_path_elements, endpoint_elements, vtep_elements
from towline.kernel.contract import AddElements, AddTable, DeleteElements
from towline.kernel.real import RealKernel
from towline.model.cluster import Peer, Underlay
from towline.model.desired import Desired, stable_mac
from towline.model.endpoint import Endpoint
from towline.model.network import Network, Pool
from towline.plan.rows import rows_of

PORT = 4789
DUAL = (Pool("10.0.1.0/24"), Pool("fd00:1::/64"))


def overlay(digit: str, vni: int, pools: Sequence[Pool] = DUAL, **options: str) -> Network:
    """A network of the id `digit` * 25."""
    vnis = ",".join(str(vni + i) for i, pool in enumerate(p for p in pools if not p.is_ipv6))
    return Network(
        digit * 25,
        f"net-{digit}",
        1,
        "overlay",
        scope="swarm",
        enable_ipv6=any(pool.is_ipv6 for pool in pools),
        pools=tuple(pools),
        options={VNI_LIST: vnis, **options},
        link=f"br-{digit * 12}",
    )


@dataclass
class Container:
    ns: Namespace
    endpoint: Endpoint
    network: Network
    node: Node

    @property
    def ipv4(self) -> str:
        return self.endpoint.ipv4.partition("/")[0]

    @property
    def ipv6(self) -> str:
        return self.endpoint.ipv6.partition("/")[0]

    @property
    def peer(self) -> Peer:
        one = self.endpoint
        return Peer(one.id, one.network, str(self.node.number), self.node.vtep, one.mac, ipv4=one.ipv4, ipv6=one.ipv6)

    def pings(self, address: str, *options: str, patience: float = 3.0) -> bool:
        out = self.ns.run(["ping", "-n", "-c1", f"-W{patience}", *options, address], check=False)
        return " 0% packet loss" in out

    def reaches(self, other: Container) -> bool:
        return self.pings(other.ipv4) and self.pings(other.ipv6)

    def forget_neighbours(self) -> None:
        self.ns.run(["ip", "neigh", "flush", "dev", "eth0"])


@dataclass
class Node:
    """A host: `eth0` is its uplink."""

    number: int
    ns: Namespace
    vtep: str
    kernel: RealKernel
    place: UnderlayHolder
    driver: Driver
    containers: list[Container] = field(default_factory=list)
    present: dict[str, Desired] = field(default_factory=dict)

    def make(self, network: Network) -> Desired:
        """As the first endpoint of a network makes it."""
        if network.id in self.present:
            return self.present[network.id]
        desired = self.driver.desired(network)
        assert desired.bridge is not None
        assert desired.tunnel is not None
        assert self.ns.call(self.kernel.links.create_bridges, [desired.bridge]) == [None]
        assert self.ns.call(self.kernel.tunnels.create, [desired.tunnel]) == [None]
        self.present[network.id] = desired
        return desired

    def run_apart(self, *command: str) -> str:
        """In the namespace for overlay networks."""
        return self.ns.run(["nsenter", f"--net=/proc/{os.getpid()}/fd/{self.kernel.place.fileno()}", *command])

    def plug(self, container: Container) -> None:
        attached = self.driver.attach(container.network, container.endpoint)
        assert attached is not None
        made = attached.interface
        guard = endpoint_elements(attached.rules, container.endpoint.host_link, made.mac, made.addresses)
        self.ns.call(self.kernel.nft.commit, [AddElements(guard)])
        self.ns.call(self.kernel.sandboxes.join, container.ns.path, made)
        self.ns.call(self.kernel.sandboxes.announce, container.ns.path, made)
        container.node = self
        self.containers.append(container)

    def unplug(self, container: Container) -> None:
        attached = self.driver.attach(container.network, container.endpoint)
        assert attached is not None
        made = attached.interface
        self.ns.call(self.kernel.sandboxes.leave, container.ns.path, [made.host_name])
        guard = endpoint_elements(attached.rules, container.endpoint.host_link, made.mac, made.addresses)
        self.ns.call(self.kernel.nft.commit, [DeleteElements(guard)])
        self.containers.remove(container)

    def hear(self, peers: Sequence[Peer], gone: Sequence[Peer] = ()) -> None:
        """What the cluster says of the endpoints of one network."""
        tunnel = self.present[(*peers, *gone)[0].network].tunnel
        assert tunnel is not None
        rows = rows_of(peers, self.vtep), rows_of(gone, self.vtep)
        assert self.ns.call(self.kernel.tunnels.set_rows, tunnel.name, *rows) is None


@dataclass
class Lab:
    nodes: list[Node]
    switch: Namespace
    new_namespace: Callable[[], Namespace]

    def run(self, node: Node, network: Network, number: int, *, subnet: int = 0) -> Container:
        """A container with the host part `number` in a subnet of each family; all nodes of the network hear of it."""
        node.make(network)
        pools = {v6: [p.subnet for p in network.pools if p.is_ipv6 == v6] for v6 in (False, True)}
        endpoint_id = f"{network.id[0]}{number:02x}".ljust(64, "0")
        endpoint = Endpoint(
            endpoint_id,
            f"c{number}",
            network.id,
            mac=stable_mac(f"{endpoint_id} on the network"),
            ipv4=pools[False][subnet].replace(".0/", f".{number}/") if pools[False] else "",
            ipv6=pools[True][subnet].replace("::/", f"::{number:x}/") if pools[True] else "",
            ifname="eth0",
            host_link=f"veth{endpoint_id[:7]}",
        )
        container = Container(self.new_namespace(), endpoint, network, node)
        node.plug(container)
        for other in self.nodes:
            if network.id in other.present and other is not node:
                other.hear([container.peer])
        remote = [c.peer for n in self.nodes if n is not node for c in n.containers if c.network == network]
        if remote:
            node.hear(remote)
        return container

    def attacker(self) -> Namespace:
        """A host on the switch that is no node: 192.0.2.66."""
        return _host(self.switch, self.new_namespace(), 66)


@contextmanager
def lab(count: int, *, ipv6: bool = False, mtu: int = 1500) -> Iterator[Lab]:
    """Node n has 192.0.2.<n>/24 and 2001:db8::<n>/64 on its uplink, whose MTU is `mtu`. ipv6: of the underlay."""
    with ExitStack() as cleanup:

        def new_namespace() -> Namespace:
            return cleanup.enter_context(namespace())

        switch = new_namespace()
        switch.run(["ip", "link", "add", "switch", "type", "bridge"])
        switch.run(["ip", "link", "set", "switch", "up"])
        nodes = [_node(switch, new_namespace(), number, ipv6, mtu, cleanup) for number in range(1, count + 1)]
        for node in nodes:
            elements = (*data_path_elements(PORT), *vtep_elements([n.vtep for n in nodes]))
            node.ns.call(node.kernel.nft.commit, [*map(AddTable, base()), AddElements(elements)])
        yield Lab(nodes, switch, new_namespace)


def _node(switch: Namespace, ns: Namespace, number: int, ipv6: bool, mtu: int, cleanup: ExitStack) -> Node:
    _host(switch, ns, number, mtu)
    kernel = ns.call(RealKernel, apart_tables=[OVERLAY])
    cleanup.callback(kernel.close)
    vtep = f"2001:db8::{number:x}" if ipv6 else f"192.0.2.{number}"
    place = UnderlayHolder(Underlay(vtep, PORT, mtu))
    return Node(number, ns, vtep, kernel, place, builtin_drivers(place).get("overlay"))


def _host(switch: Namespace, ns: Namespace, number: int, mtu: int = 1500) -> Namespace:
    port = f"port{number}"
    veth(switch, port, ns, "eth0", b_address=f"192.0.2.{number}/24")
    ns.run(["ip", "address", "add", f"2001:db8::{number:x}/64", "dev", "eth0", "nodad"])
    for where, link in ((switch, port), (ns, "eth0")):
        where.run(["ip", "link", "set", link, "mtu", str(mtu)])
    switch.run(["ip", "link", "set", port, "master", "switch"])
    return ns
