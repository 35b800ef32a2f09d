"""Builds every concrete object of the daemon; decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from towline.cluster.describe import describe
from towline.cluster.identity import IdentityFiles
from towline.cluster.surroundings import Surroundings
from towline.cluster.swarm import SwarmNode
from towline.control.announcer import Announcer
from towline.control.apply import Applier
from towline.control.balancer import Balancer
from towline.control.collaborators import NameServers, Runtime, Seat
from towline.control.controller import Controller, ensure_daemon_id
from towline.control.data_path import DataPath
from towline.control.drift import DriftWatch
from towline.control.encryption import Encryption
from towline.control.endpoints import EndpointPlanner
from towline.control.events import EventBus
from towline.control.explain import Explainer
from towline.control.explain_services import ServiceExplainer
from towline.control.flows import FlowSweeper
from towline.control.forwarding import Forwarding
from towline.control.global_joins import GlobalJoins
from towline.control.host import HostPrefixes, host_interfaces
from towline.control.membership import Membership
from towline.control.mesh import Mesh
from towline.control.names import Names
from towline.control.names_check import NamesCheck
from towline.control.networks import Networks
from towline.control.parts import Parts as OwnParts
from towline.control.ports import Ports, PortSockets
from towline.control.reaper import Reaper
from towline.control.reconcile import Reconciler
from towline.control.replica import Replica
from towline.control.replica_networks import Mirror
from towline.control.sandbox_access import SandboxAccess
from towline.control.sandbox_recovery import Recovery
from towline.control.sandboxes import Sandboxes
from towline.control.secure_memory import SecureMemory
from towline.control.service_members import ServiceMembers
from towline.control.writer import Writer
from towline.dns.server import DnsServers
from towline.drivers.registry import builtin_drivers
from towline.firewall import FOREIGN_CHAINS, OVERLAY
from towline.ipam.registry import builtin_drivers as builtin_ipams
from towline.kernel.contract import Kernel, Link, Links, Monitor
from towline.kernel.wireguard_contract import WireGuard
from towline.model.cluster import Underlay
from towline.model.config import Config
from towline.model.info import Counters
from towline.model.sandbox import MESH
from towline.policy.network import Admission
from towline.runtime.check import daemon_places
from towline.runtime.supervise import Supervisor
from towline.store.contract import Store


def _wireguard(died: Callable[[str], None]) -> WireGuard:
    """What encrypts, once the node is in a cluster. died: told the name of an interface that is gone."""
    from towline.kernel.wireguard import RealWireGuard

    return RealWireGuard(died)


@dataclass(frozen=True)
class Parts:
    """What touches the world. Tests put fakes, or real ones wrapped with faults, in their place.

    reaper_links: a second rtnetlink client, because unlinking goes on beside the writer.
    """

    store: Store
    kernel: Kernel
    reaper_links: Links
    monitor: Monitor
    ports: PortSockets
    dns: NameServers
    runtime: Runtime
    close: Callable[[], None]
    wireguard: Callable[[Callable[[str], None]], WireGuard] = _wireguard


def real_parts(config: Config) -> Parts:
    """The store under the data root, and the kernel of the network namespace that the process runs in."""
    import logging

    from towline.kernel.real import open_kernel
    from towline.store.open import open_store

    opened = open_store(Path(config.data_root))
    if opened.set_aside is not None:
        logging.getLogger(__name__).error(opened.set_aside)
    real = open_kernel(foreign=FOREIGN_CHAINS, apart=_overlay_namespace(config), apart_tables=[OVERLAY])
    dns = DnsServers(opened.store.view())
    runtime = Supervisor(config.exec_root, config.data_root, _hidden(config))
    return Parts(opened.store, real.kernel, real.reaper_links, real.monitor, real.ports, dns, runtime, real.close)


class Service:
    """The engine with everything it owns. replica, seat, data_path: where a cluster and this node meet."""

    def __init__(
        self,
        engine: Controller,
        watch: DriftWatch,
        parts: Parts,
        sweeper: FlowSweeper,
        *,
        replica: Replica,
        joins: GlobalJoins,
        swarm: SwarmNode,
        seat: Seat,
        data_path: DataPath,
        balancer: Balancer,
        mesh: Mesh,
        members: ServiceMembers,
    ) -> None:
        self.engine = engine
        self.replica = replica
        self.seat = seat
        self.data_path = data_path
        self._swarm = swarm
        self._balancer = balancer
        self._mesh = mesh
        self._joins = joins
        self._members = members
        self._watch = watch
        self._parts = parts
        self._sweeper = sweeper

    async def start(self) -> None:
        self._swarm.restore()
        await self.engine.start(self._watch)
        self._joins.drop_unused_parts()
        self._mesh.start()
        await self._swarm.start()
        self._joins.return_unused_blocks()

    async def stop(self) -> None:
        await self._mesh.close()
        await self._swarm.stop()
        await self._balancer.close()
        await self._members.close()
        await self._joins.close()
        await self.replica.close()
        await self.engine.stop()
        await self._parts.dns.stop()
        self._sweeper.close()
        self._parts.close()

    def reconfigure(self, config: Config) -> None:
        self.engine.config = config


def build(config: Config, parts: Parts | None = None) -> Service:
    """Needs a running event loop. Raises StoreError or KernelError if store or kernel cannot be opened."""
    parts = parts or real_parts(config)
    store, kernel, view = parts.store, parts.kernel, parts.store.view()
    daemon_id = ensure_daemon_id(store)
    counters, events, seat = Counters(), EventBus(), Seat()
    ipams = builtin_ipams(config.default_address_pools, daemon_id)
    forwarding = Forwarding(kernel.sysctl, enabled=config.ip_forward)
    host = HostPrefixes(kernel.links, view)
    loop = asyncio.get_running_loop()
    sweeper = FlowSweeper(kernel.flows)
    reaper = Reaper(parts.reaper_links, quiet=lambda: writer.quiet_for())

    def need_repair() -> None:
        _call_soon(loop, watch.request)

    applier = Applier(
        store,
        kernel,
        forwarding=forwarding,
        sweeper=sweeper,
        retire=reaper.retire,
        reclaim=reaper.reclaim,
        need_repair=need_repair,
    )
    writer = Writer(view, applier, counters)
    data_path = DataPath(store, writer, kernel, need_repair)

    def repaired(count: int) -> None:
        counters.drift_repairs += count

    encryption = Encryption(
        view,
        parts.wireguard,
        underlay=lambda: data_path.place.underlay,
        set_links=data_path.set_secure_links,
        memory=SecureMemory(store, writer),
        repaired=repaired,
        rotation=config.encryption_key_rotation,
    )
    data_path.secure_links = encryption.links
    drivers = builtin_drivers(data_path.place)

    def namespace_gone(sandbox_id: str) -> None:
        _call_soon(loop, lambda: mesh.lost() if sandbox_id == MESH else sandboxes.namespace_lost(sandbox_id))

    reconciler = Reconciler(
        view,
        kernel,
        drivers,
        forwarding,
        leaving=reaper.waiting,
        namespaces=_namespaces(config),
        namespace_gone=namespace_gone,
        node_elements=data_path.elements,
        down=lambda: replica.down,
        inner_set=lambda sandbox_id, inner: balancer.repaired(sandbox_id, inner),
        node_links=encryption.links,
    )
    balancer = Balancer(view, writer, kernel.inner, drivers, down=lambda: replica.down, need_repair=need_repair)
    networks = Networks(
        store=store,
        writer=writer,
        reaper=reaper,
        admission=Admission(drivers, config.default_network_opts, seat.this_node),
        drivers=drivers,
        ipams=ipams,
        host=host,
        publish=events.publish,
        counters=counters,
        seat=seat,
    )
    ports = Ports(parts.ports, default_ip=config.ip)
    own_parts = OwnParts(view, writer, drivers, ipams, host)
    joins = GlobalJoins(view, ipams, seat, networks.ensure_gateway, own_parts, encryption.admit)
    planner = EndpointPlanner(drivers, ipams, ports, joins)

    def changed(network_id: str) -> None:
        replica.local_change(network_id)
        mesh.port_released()

    sandboxes, membership, names_check, mesh, members = _sandboxes(
        config, parts, writer, planner, joins, ports, events, counters, balancer, changed
    )
    replica = Replica(
        store=store,
        writer=writer,
        kernel=kernel,
        drivers=drivers,
        mirror=Mirror(drivers, ipams),
        membership=membership,
        mesh=mesh,
        names=parts.dns,
        need_repair=need_repair,
        meet=encryption.meet,
    )
    replica.on_members = balancer.changed
    uplink = _Uplink(kernel.links)
    swarm = SwarmNode(
        IdentityFiles(Path(config.data_root) / "cluster"),
        Surroundings(
            replica=replica,
            identify=replica.node.become,
            set_data_path=data_path.set,
            interfaces=lambda: writer.exclusive(lambda: host_interfaces(kernel.links, view)),
            underlay=lambda address, port: writer.exclusive(lambda: uplink.underlay(address, port)),
            describe=lambda: describe(drivers.names()),
            publish=events.publish,
            encryption=encryption,
            repairs=lambda: counters.drift_repairs,
            ensure_gateway=networks.ensure_gateway,
            store=config.cluster_store,
            default_advertise=config.swarm_default_advertise_addr,
        ),
    )
    seat.cluster = swarm
    replica.on_local_change, replica.on_service_change = swarm.local_change, members.changed
    recovery = Recovery(sandboxes, view, writer=writer, kernel=kernel, ports=ports, runtime=parts.runtime)
    explained = ServiceExplainer(view, kernel.inner, drivers, lambda: replica.down)
    controller = Controller(
        config,
        daemon_id=daemon_id,
        store=store,
        kernel=kernel,
        ipams=ipams,
        writer=writer,
        reaper=reaper,
        reconciler=reconciler,
        networks=networks,
        sandboxes=sandboxes,
        membership=membership,
        recovery=recovery,
        explainer=Explainer(
            view, kernel, drivers, services=explained, holds=parts.ports.holds, namespace_gone=namespace_gone
        ),
        names_check=names_check,
        mesh=mesh,
        dns=parts.dns,
        events=events,
        counters=counters,
        cluster=swarm,
    )

    def routes_changed() -> None:
        host.mark_stale()
        encryption.routes_changed()

    watch = DriftWatch(
        parts.monitor,
        concerns=lambda name: encryption.touched(name) or controller.concerns(name),
        on_route=routes_changed,
        repair=controller.on_drift,
    )
    return Service(
        controller,
        watch,
        parts,
        sweeper,
        replica=replica,
        joins=joins,
        swarm=swarm,
        seat=seat,
        data_path=data_path,
        balancer=balancer,
        mesh=mesh,
        members=members,
    )


def _sandboxes(
    config: Config,
    parts: Parts,
    writer: Writer,
    planner: EndpointPlanner,
    joins: GlobalJoins,
    ports: Ports,
    events: EventBus,
    counters: Counters,
    balancer: Balancer,
    changed: Callable[[str], None],
) -> tuple[Sandboxes, Membership, NamesCheck, Mesh, ServiceMembers]:
    view = parts.store.view()
    names = Names(view, parts.dns, Path(config.exec_root) / "sandboxes", hidden=_hidden(config))
    access = SandboxAccess(view, events.publish, names, counters, changed)
    announcer = Announcer(writer, parts.kernel)
    membership = Membership(
        access=access,
        writer=writer,
        kernel=parts.kernel,
        planner=planner,
        joins=joins,
        names=names,
        announcer=announcer,
    )
    sandboxes = Sandboxes(
        access=access,
        membership=membership,
        writer=writer,
        kernel=parts.kernel,
        planner=planner,
        joins=joins,
        ports=ports,
        runtime=parts.runtime,
        names=names,
        announcer=announcer,
        balancer=balancer,
        namespaces=_namespaces(config),
    )
    mesh = Mesh(
        access=access,
        writer=writer,
        planner=planner,
        joins=joins,
        ports=ports,
        announcer=announcer,
        namespaces=_namespaces(config),
    )
    members = ServiceMembers(
        access=access,
        writer=writer,
        planner=planner,
        joins=joins,
        names=names,
        ports=ports,
        announcer=announcer,
        balancer=balancer,
    )
    return sandboxes, membership, NamesCheck(access, parts.dns, names), mesh, members


def _hidden(config: Config) -> tuple[str, ...]:
    return daemon_places(config.exec_root, config.data_root, config.hosts)


def _namespaces(config: Config) -> str:
    """The directory in which sandboxes' namespaces are pinned."""
    return str(Path(config.exec_root) / "netns")


def _overlay_namespace(config: Config) -> str:
    """Where the namespace for overlay networks is pinned."""
    return f"{_namespaces(config)}/overlay"


def _call_soon(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    loop.call_soon_threadsafe(function)


class _Uplink:
    """The link that has this node's data path address."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._name = ""

    def underlay(self, address: str, port: int) -> Underlay:
        """Writer thread. As it is now; the link is searched for when it is another one. KernelError."""
        link = self._links.find(self._name) if self._name else None
        if link is None or not _has(link, address):
            link = next((each for each in self._links.dump() if _has(each, address)), None)
        self._name = link.name if link is not None else ""
        return Underlay(address, port) if link is None else Underlay(address, port, link.mtu)


def _has(link: Link, address: str) -> bool:
    return any(cidr.partition("/")[0] == address for cidr in link.addresses)
