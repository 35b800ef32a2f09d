"""What the namespace of a sandbox must hold so that it reaches services, or is reached as a member of one: a function
of the store now, and of which nodes are down."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from towline.drivers.registry import Drivers
from towline.firewall.balance import Backend, MeshPort, mesh_elements, mesh_table, services_table, vip_elements
from towline.firewall.keys import is_address
from towline.firewall.returns import RETURN_MARK, RETURN_MASK, Mesh, returns_elements, returns_tables
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint
from towline.model.inner import NOTHING, Detour, Inner
from towline.model.network import SWARM, Network
from towline.model.ruleset import Element, Table
from towline.model.sandbox import MESH, Sandbox
from towline.model.service import Service
from towline.model.view import View
from towline.plan.mesh import usable_ports

_DEFAULT_MTU = 1500


class Balance:
    """Who serves what, found out once for all sandboxes that are looked at together. down: ids of nodes whose lease has
    ended; what they have is no member."""

    def __init__(self, view: View, drivers: Drivers, down: Collection[str] = ()) -> None:
        self._view = view
        self._drivers = drivers
        self._down = down
        self._members: dict[str, dict[str, list[Backend]]] = {}
        self._on: dict[str, tuple[Element, ...]] = {}
        self._published: dict[str, tuple[Element, ...]] = {}
        self._meshes: dict[str, tuple[Element, ...]] = {}

    def inner(self, sandbox: Sandbox) -> Inner:
        if sandbox.state != "running" or not sandbox.netns:
            return NOTHING
        ends = [
            (e, n) for e in self._view.endpoints_in(sandbox.id) if e.ifname and (n := self._view.network(e.network))
        ]
        ingress = next(((e, n) for e, n in ends if n.ingress and n.scope == SWARM), None)
        if sandbox.id == MESH:
            return NOTHING if ingress is None else self._mesh(*ingress)
        tables: list[Table] = []
        elements = [e for _, n in ends if not n.ingress for e in self.on(n.id)]
        if elements:
            tables.append(services_table())
        if ingress is None or not ingress[0].service:
            return Inner(tuple(tables), _each_key_once(elements))
        endpoint, network = ingress
        tables += returns_tables(endpoint.ifname)
        elements += self._of_meshes(network.id)
        detour = Detour(endpoint.ifname, RETURN_MARK, RETURN_MASK, ipv6=bool(endpoint.ipv6))
        return Inner(tuple(tables), _each_key_once(elements), detour)

    def on(self, network_id: str) -> tuple[Element, ...]:
        """Virtual addresses on a network, with their members; () where there is none."""
        if network_id not in self._on:
            self._on[network_id] = tuple(self._virtual(network_id))
        return self._on[network_id]

    def _virtual(self, network_id: str) -> Iterator[Element]:
        for service in self._view.services_on(network_id):
            vip = service.vip_on(network_id)
            for cidr in (vip.ipv4, vip.ipv6) if vip is not None and service.mode == "vip" else ():
                if is_address(address := _bare(cidr)):
                    yield from vip_elements(address, self.members(service, network_id))

    def members(self, service: Service, network_id: str) -> list[Backend]:
        """In an order that all nodes agree on."""
        if network_id not in self._members:
            self._members[network_id] = self._look_for_members(network_id)
        return self._members[network_id].get(service.id, [])

    def _look_for_members(self, network_id: str) -> dict[str, list[Backend]]:
        here: list[Endpoint | Peer] = [e for e in self._view.endpoints_of(network_id) if e.service and e.ifname]
        elsewhere = [p for p in self._view.peers_of(network_id) if p.service and p.node not in self._down]
        found: dict[str, list[Backend]] = {}
        for member in sorted([*here, *elsewhere], key=lambda m: m.id):
            found.setdefault(member.service, []).append(Backend(_bare(member.ipv4), _bare(member.ipv6)))
        return found

    # the mesh

    def _mesh(self, endpoint: Endpoint, network: Network) -> Inner:
        if network.id not in self._published:
            self._published[network.id] = _each_key_once(self._ports(network.id))
        return Inner((_mesh_table(endpoint.ifname, self._mtu(endpoint, network)),), self._published[network.id])

    def _ports(self, network_id: str) -> Iterator[Element]:
        for service in self._view.services():
            for port in usable_ports(service):
                place = MeshPort(port.protocol, port.published, port.target)
                yield from mesh_elements(place, self.members(service, network_id))

    def _mtu(self, endpoint: Endpoint, network: Network) -> int:
        attachment = self._drivers.get(network.driver).attach(network, endpoint)
        return (attachment.interface.mtu if attachment is not None else 0) or _DEFAULT_MTU

    def _of_meshes(self, network_id: str) -> tuple[Element, ...]:
        if network_id not in self._meshes:
            own: list[Endpoint | Peer] = [
                e for e in self._view.endpoints_of(network_id) if e.sandbox == MESH and e.ifname
            ]
            others = [p for p in self._view.peers_of(network_id) if p.sandbox == MESH]
            found = sorted([*own, *others], key=lambda end: end.id)
            self._meshes[network_id] = returns_elements(Mesh(end.mac, _bare(end.ipv4 or end.ipv6)) for end in found)
        return self._meshes[network_id]


_mesh_table = lru_cache(maxsize=4)(mesh_table)


def _bare(cidr: str) -> str:
    return cidr.partition("/")[0]


def _each_key_once(elements: Iterable[Element]) -> tuple[Element, ...]:
    """What two claim belongs to the first: one mistake in the records must not keep the others from working."""
    return tuple({(e.table, e.set, e.key): e for e in reversed(list(elements))}.values())[::-1]
