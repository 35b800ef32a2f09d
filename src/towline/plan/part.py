"""A network of the cluster whose driver knows one host only (bridge, macvlan with scope "swarm"): each host makes its
own part of it, from its own configuration network of the name that `config-from` gives, as Docker does."""

from __future__ import annotations

from msgspec.structs import replace

from towline.drivers.contract import Driver
from towline.ipam.contract import IpamDriver
from towline.ipam.networks import allocate_network, release_network
from towline.ipam.prefixes import PrefixSet
from towline.model.errors import NotFound
from towline.model.network import Network
from towline.model.view import View


def source_of(network: Network, view: View) -> Network:
    """Where its settings are: this host's configuration, or the record itself where it names none. NotFound with
    Docker's text."""
    if not network.config_from:
        return network
    source = view.network_named(network.config_from)
    if source is None or not source.config_only:
        raise NotFound(
            f'configuration network "{network.config_from}" does not exist: make it on this node too, with '
            f"`docker network create --config-only {network.config_from}`, and join network {network.name} again"
        )
    return source


def plan_part(
    network: Network, source: Network, driver: Driver, view: View, *, ipam: IpamDriver, in_use: PrefixSet
) -> Network:
    """The record with this host's pools, options and link. Addresses are taken from `ipam`, and given back if anything
    is refused."""
    part = replace(
        network,
        whole=network,
        enable_ipv4=source.enable_ipv4,
        enable_ipv6=source.enable_ipv6,
        ipam_driver=source.ipam_driver or "default",
        ipam_options=source.ipam_options,
        options=source.options,
        labels=source.labels,
    )
    skip = driver.check(part)
    pools = allocate_network(
        ipam,
        network_id=part.id,
        requests=source.requests,
        ipv4=part.enable_ipv4,
        ipv6=part.enable_ipv6,
        scope=part.address_scope,
        in_use=in_use,
        options=part.ipam_options,
        skip_gateway4=skip.ipv4,
        skip_gateway6=skip.ipv6,
    )
    part = replace(part, pools=pools)
    try:
        return driver.admit(part, view)
    except BaseException:
        release_network(ipam, part, ())
        raise
