"""A create request becomes a network record with its pools. What the kernel must hold for it, its driver says."""

from __future__ import annotations

from msgspec.structs import replace

from towline.drivers.contract import Driver, SkipGateways
from towline.ipam.contract import IpamDriver
from towline.ipam.networks import allocate_network, release_network
from towline.ipam.prefixes import PrefixSet
from towline.model.network import Network, Pool
from towline.model.requests import ENABLE_IPV6, CreateNetwork
from towline.model.view import View

_ANY = ("0.0.0.0/", "::/")


def plan_network(
    request: CreateNetwork,
    driver: Driver | None,
    view: View,
    *,
    network_id: str,
    now: int,
    ipam: IpamDriver,
    in_use: PrefixSet,
) -> Network:
    """The record to commit, phase `creating`. `request` has passed admission; `driver` is None for config-only.

    Addresses are taken from `ipam`; if anything is refused they have been given back. in_use: prefixes of this host
    that automatic pools must avoid. now: nanoseconds since the epoch.
    """
    network = _record(request, network_id, now)
    if driver is None:
        return replace(network, requests=request.pools)
    skip = driver.check(network)
    if driver.needs_pools:
        network = replace(network, pools=_allocate(network, request, skip, ipam, in_use))
    try:
        return driver.admit(network, view)
    except BaseException:
        release_network(ipam, network, ())
        raise


def may_need_automatic_pool(request: CreateNetwork) -> bool:
    """Asked before admission, so in doubt yes: is there a family without a subnet of its own?"""
    if request.config_only or request.driver in ("host", "null"):
        return False
    if request.config_from or ENABLE_IPV6 in request.options:
        return True
    given = {":" in pool.subnet for pool in request.pools if pool.subnet and not pool.subnet.startswith(_ANY)}
    wanted = {False} if request.enable_ipv4 is not False else set()
    return not wanted | ({True} if request.enable_ipv6 else set()) <= given


def _record(request: CreateNetwork, network_id: str, now: int) -> Network:
    return Network(
        id=network_id,
        name=request.name,
        created=now,
        driver=request.driver,
        scope=request.scope,
        enable_ipv4=bool(request.enable_ipv4),
        enable_ipv6=bool(request.enable_ipv6),
        internal=request.internal,
        attachable=request.attachable,
        ingress=request.ingress,
        config_only=request.config_only,
        config_from=request.config_from,
        ipam_driver=request.ipam_driver,
        ipam_options=request.ipam_options,
        options=request.options,
        labels=request.labels,
    )


def _allocate(
    network: Network, request: CreateNetwork, skip: SkipGateways, ipam: IpamDriver, in_use: PrefixSet
) -> tuple[Pool, ...]:
    return allocate_network(
        ipam,
        network_id=network.id,
        requests=request.pools,
        ipv4=network.enable_ipv4,
        ipv6=network.enable_ipv6,
        scope=network.scope,
        in_use=in_use,
        options=network.ipam_options,
        skip_gateway4=skip.ipv4,
        skip_gateway6=skip.ipv6,
    )
