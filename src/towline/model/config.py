"""The daemon's configuration, as a value. Parsing and defaults of paths live in `daemon.flags`."""

from __future__ import annotations

import msgspec


class AddressPool(msgspec.Struct, frozen=True):
    """base: CIDR; size: prefix length of the blocks handed out of it."""

    base: str
    size: int


# Docker's built-in local pools, moby daemon/libnetwork/ipamutils/utils.go.
LOCAL_POOLS = (
    AddressPool("172.17.0.0/16", 16),
    AddressPool("172.18.0.0/16", 16),
    AddressPool("172.19.0.0/16", 16),
    AddressPool("172.20.0.0/14", 16),
    AddressPool("172.24.0.0/14", 16),
    AddressPool("172.28.0.0/14", 16),
    AddressPool("192.168.0.0/16", 20),
)
GLOBAL_POOLS = (AddressPool("10.0.0.0/8", 24),)


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Names follow dockerd's flags (dashes become underscores); values are checked by the parser."""

    data_root: str = "/var/lib/towline"
    exec_root: str = "/run/towline"
    hosts: tuple[str, ...] = ("unix:///run/towline/docker.sock",)
    group: str = ""
    pidfile: str = "/run/towline/towlined.pid"
    debug: bool = False
    log_level: str = "info"
    log_format: str = "text"
    default_address_pools: tuple[AddressPool, ...] = ()
    bip: str = ""
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    default_gateway: str = ""
    default_gateway_v6: str = ""
    mtu: int = 0
    ipv6: bool = False
    icc: bool = True
    ip: str = "0.0.0.0"
    ip_forward: bool = True
    ip_masq: bool = True
    default_network_opts: dict[str, dict[str, str]] = {}
    labels: tuple[str, ...] = ()
    metrics_addr: str = ""
    cluster_store: str = ""
    encryption_key_rotation: int = 43200
    swarm_default_advertise_addr: str = ""
    tls: bool = False
    tlsverify: bool = False
    tlscacert: str = ""
    tlscert: str = ""
    tlskey: str = ""
