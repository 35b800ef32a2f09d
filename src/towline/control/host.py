"""What this host uses already: prefixes that automatic pools must avoid (on-link routes, name servers)."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from towline.drivers.macvlan import ON_A_PARENT
from towline.ipam.prefixes import PrefixSet
from towline.kernel.contract import Link, Links
from towline.model.cluster import HostInterface
from towline.model.desired import ALIAS_PREFIX, is_apart
from towline.model.view import View

RESOLV_CONF = Path("/etc/resolv.conf")


class HostPrefixes:
    """`current` is what planners read; `refresh` re-reads the kernel and runs in the writer thread.

    stale: the host's routes or addresses changed, so the next automatic pool must be preceded by a refresh.
    """

    def __init__(self, links: Links, view: View, resolv_conf: Path = RESOLV_CONF) -> None:
        self._links = links
        self._view = view
        self._resolv_conf = resolv_conf
        self.current = PrefixSet()
        self.stale = True
        self._changed = True

    def mark_stale(self) -> None:
        self.stale = self._changed = True

    def refresh(self) -> None:
        """Subnets of our own networks are left out: the pools account for them. It stays stale if the kernel cannot be
        read, or changed meanwhile."""
        self._changed = False
        own = {pool.subnet for network in list(self._view.networks()) for pool in network.pools}
        fresh = PrefixSet(route.prefix for route in self._links.routes() if route.prefix not in own)
        for server in _name_servers(self._resolv_conf):
            fresh.add(server)
        self.current = fresh
        self.stale = self._changed


def host_interfaces(links: Links, view: View) -> list[HostInterface]:
    """From the kernel, in its order; runs in the writer thread. KernelError. Link-local IPv6 addresses are not told."""

    def own(link: Link) -> bool:
        if link.alias.startswith(ALIAS_PREFIX):
            return True
        return any(network.driver not in ON_A_PARENT for network in view.networks_with_link(link.name))

    return [
        HostInterface(link.name, link.up, link.addresses, link.kind, own(link))
        for link in links.dump()
        if not is_apart(link.name)
    ]


def _name_servers(path: Path) -> list[str]:
    """Host prefixes of the name servers in resolv.conf; an absent or odd file names none."""
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return []
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                address = ipaddress.ip_address(words[1].partition("%")[0])
            except ValueError:
                continue
            servers.append(f"{address}/{address.max_prefixlen}")
    return servers
