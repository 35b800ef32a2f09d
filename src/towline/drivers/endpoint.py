"""Endpoint options that every driver with interfaces understands (docker-api facts 3.2)."""

from __future__ import annotations

from collections.abc import Mapping

SYSCTLS = "com.docker.network.endpoint.sysctls"
PREFIX = "com.docker.network.container_iface_prefix"
DEFAULT_PREFIX = "eth"
IFNAME = "com.docker.network.endpoint.ifname"


def interface_sysctls(options: Mapping[str, str], ifname: str) -> tuple[tuple[str, str], ...]:
    """(path below /proc/sys, value) of a comma list "net.ipv4.conf.IFNAME.x=v". Admission has checked it."""
    settings = []
    for item in filter(None, options.get(SYSCTLS, "").split(",")):
        key, _, value = item.strip().partition("=")
        path = "/".join(ifname if part in ("IFNAME", "ifname") else part for part in key.split("."))
        settings.append((path, value))
    return tuple(settings)
