"""The networks that exist after the first start: bridge, host and none, and the default bridge's configuration."""

from __future__ import annotations

import ipaddress

from towline.drivers import bridge as options
from towline.model.config import Config
from towline.model.requests import CreateNetwork, PoolRequest

DOCKER_BRIDGE = "docker0"
OWN_BRIDGES = "towline"  # towline0 and on, where docker0 is taken


def default_bridge(config: Config, link: str) -> CreateNetwork:
    """What dockerd makes of its flags (moby daemon/daemon_unix.go initBridgeDriver)."""
    mtu = (
        {}
        if not config.mtu and options.MTU in config.default_network_opts.get("bridge", {})
        else {options.MTU: str(config.mtu or 1500)}
    )
    return CreateNetwork(
        name="bridge",
        driver="bridge",
        scope="local",
        enable_ipv4=True,
        enable_ipv6=config.ipv6,
        ipam_driver="default",
        pools=tuple(filter(None, (_ipv4_pool(config), _ipv6_pool(config) if config.ipv6 else None))),
        options={
            **config.default_network_opts.get("bridge", {}),
            options.DEFAULT_BRIDGE: "true",
            options.ICC: _go(config.icc),
            options.MASQUERADE: _go(config.ip_masq),
            options.HOST_BINDING: config.ip,
            options.NAME: link,
            **mtu,
        },
    )


def single(name: str, driver: str) -> CreateNetwork:
    return CreateNetwork(
        name=name, driver=driver, scope="local", enable_ipv4=True, enable_ipv6=False, ipam_driver="default"
    )


def _ipv4_pool(config: Config) -> PoolRequest | None:
    if not (config.bip or config.fixed_cidr or config.default_gateway):
        return None
    aux = {"DefaultGatewayIPv4": config.default_gateway} if config.default_gateway else {}
    return _pool(config.bip, config.fixed_cidr, aux)


def _ipv6_pool(config: Config) -> PoolRequest | None:
    if not (config.bip6 or config.fixed_cidr_v6 or config.default_gateway_v6):
        return None
    aux = {"DefaultGatewayIPv6": config.default_gateway_v6} if config.default_gateway_v6 else {}
    return _pool(config.bip6, config.fixed_cidr_v6, aux)


def _pool(bip: str, fixed_cidr: str, aux: dict[str, str]) -> PoolRequest:
    """bip is the bridge's own address with prefix length; fixed_cidr limits (or, alone, is) the subnet."""
    if not bip:
        return PoolRequest(subnet=fixed_cidr, aux=aux)
    interface = ipaddress.ip_interface(bip)
    inner = fixed_cidr if fixed_cidr != str(interface.network) else ""
    return PoolRequest(subnet=str(interface.network), ip_range=inner, gateway=str(interface.ip), aux=aux)


def _go(value: bool) -> str:
    return "true" if value else "false"
