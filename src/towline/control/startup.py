"""From a store and a kernel that may disagree to a state in which they do not.

Order: addresses are taken back from the records, the kernel is compared and repaired, intents that a crash left behind
are rolled forward (or dropped, with the reason, when the kernel refuses), and the predefined networks are made sure of.
"""

from __future__ import annotations

import logging
from itertools import chain, count

from msgspec.structs import replace

from towline.control.docker import docker_is_here, is_shared
from towline.control.networks import Networks
from towline.control.predefined import DOCKER_BRIDGE, OWN_BRIDGES, default_bridge, single
from towline.control.reconcile import Reconciler
from towline.control.writer import Writer
from towline.ipam.networks import release_network
from towline.ipam.registry import IpamDrivers
from towline.ipam.restore import restore_network
from towline.kernel.contract import Kernel
from towline.model.config import Config
from towline.model.errors import TowlineError
from towline.model.network import Network
from towline.model.requests import CreateNetwork
from towline.model.view import View
from towline.store.contract import Delete, Put, Store

log = logging.getLogger(__name__)


def restore_addresses(store: Store, ipams: IpamDrivers) -> None:
    """Take every pool and address of the stored networks, so that nothing is given out twice."""
    view = store.view()
    for network in view.networks():
        if network.pools:
            try:
                restore_network(ipams.get(network.ipam_driver), network, view.endpoints_of(network.id))
            except TowlineError as error:
                fields = {"network": network.name, "error": str(error)}
                log.error("addresses not taken back", extra={"fields": fields})


def bring_up(store: Store, reconciler: Reconciler, ipams: IpamDrivers, *, sweep: bool) -> bool:
    """Writer thread. Make the kernel hold what the store says; False if it refused something."""
    differences = reconciler.compare()
    for difference in differences:
        fields = {"object": difference.finding.object, "problem": difference.finding.problem}
        log.info("difference", extra={"fields": fields})
    errors = reconciler.repair(differences, sweep=sweep)
    if _finish_intents(store, reconciler, ipams):
        errors += reconciler.repair(reconciler.compare_rules(), sweep=sweep)
    return not errors


def _finish_intents(store: Store, reconciler: Reconciler, ipams: IpamDrivers) -> int:
    """An intent whose link still differs cannot be made: it was never acknowledged, so it goes. Answers how many."""
    dropped = 0
    pending = [network for network in store.view().networks() if network.phase == "creating"]
    for network in pending:
        if network.link and (left := reconciler.compare_link(network.link)):
            problem = left[0].finding.problem
            fields = {"network": network.name, "problem": problem}
            log.error("unfinished network dropped", extra={"fields": fields})
            store.update([Delete(Network, network.id)])
            if network.pools:
                release_network(ipams.get(network.ipam_driver), network, ())
            dropped += 1
        else:
            store.note([Put(replace(network, phase="ready"))])
    return dropped


async def ensure_predefined(store: Store, networks: Networks, writer: Writer, kernel: Kernel, config: Config) -> None:
    view = store.view()
    for name, driver in (("host", "host"), ("none", "null")):
        if view.network_named(name) is None:
            await networks.create_predefined(single(name, driver))
    present = view.network_named("bridge")
    if present is not None:
        present = await _unless_shared(present, view, networks, writer, kernel)
    link = present.link if present else await writer.exclusive(lambda: _free_bridge_name(kernel))
    wanted = default_bridge(config, link)
    if present is not None and _matches(present, wanted):
        return
    if present is not None:
        if view.endpoints_of(present.id):
            log.warning("the default bridge is in use and keeps its old configuration until it is not")
            return
        await networks.drop(present)
    await networks.create_predefined(wanted)


async def _unless_shared(
    bridge: Network, view: View, networks: Networks, writer: Writer, kernel: Kernel
) -> Network | None:
    """The default bridge, or None when its link was left to Docker, which has it too.

    Our mark goes first, so that nobody sweeps the link; after a crash in between the link is ours still.
    """
    shared = await writer.exclusive(lambda: is_shared(bridge, kernel.nft))
    if not shared or view.endpoints_of(bridge.id):
        return bridge
    if (error := (await writer.exclusive(lambda: kernel.links.disown([bridge.link])))[0]) is not None:
        log.error("the default bridge stays shared with Docker", extra={"fields": {"error": str(error)}})
        return bridge
    await networks.hand_over(bridge)
    log.warning("the default bridge's link is left to Docker", extra={"fields": {"link": bridge.link}})
    return None


def _free_bridge_name(kernel: Kernel) -> str:
    """docker0, unless Docker (or a network of a lost store) has it, or Docker would take it."""
    names = chain(() if docker_is_here(kernel.nft) else (DOCKER_BRIDGE,), (f"{OWN_BRIDGES}{i}" for i in count()))
    return next(name for name in names if kernel.links.find(name) is None)


def _matches(network: Network, wanted: CreateNetwork) -> bool:
    if network.options != wanted.options or network.enable_ipv6 != wanted.enable_ipv6:
        return False
    asked = [(p.subnet, p.ip_range, p.gateway, p.aux) for p in wanted.pools]
    have = {p.subnet: (p.ip_range, p.gateway, p.aux) for p in network.pools}
    return all(
        have.get(subnet, ("", "", {})) == (ip_range, gateway or have.get(subnet, ("", "", {}))[1], aux)
        for subnet, ip_range, gateway, aux in asked
    )
