"""What this host uses already: prefixes that automatic pools must avoid (on-link routes, name servers)."""

from __future__ import annotations

import ipaddress
from collections import deque
from pathlib import Path

from towline.ipam.prefixes import PrefixSet
from towline.kernel.contract import Links
from towline.model.network import Network

RESOLV_CONF = Path("/etc/resolv.conf")
FORMER = 256  # subnets given up lately, whose routes may still be announced as gone


class HostPrefixes:
    """`current` is what planners read; `refresh` re-reads the kernel and runs in the writer thread.

    stale: a route changed that is not one of ours, so the next automatic pool must be preceded by a refresh.
    """

    def __init__(self, links: Links, resolv_conf: Path = RESOLV_CONF) -> None:
        self._links = links
        self._resolv_conf = resolv_conf
        self._own: set[str] = set()
        self._former: deque[str] = deque(maxlen=FORMER)
        self.current = PrefixSet()
        self.stale = True

    def claim(self, network: Network) -> None:
        """Its subnets are ours from now on: the pools account for them, and news of their routes means nothing."""
        self._own.update(pool.subnet for pool in network.pools)

    def disclaim(self, network: Network) -> None:
        """The news that its routes went may come after this."""
        for pool in network.pools:
            self._own.discard(pool.subnet)
            self._former.append(pool.subnet)

    def on_route(self, prefix: str) -> None:
        """A route to this prefix came or went."""
        if prefix not in self._own and prefix not in self._former:
            self.stale = True

    def refresh(self) -> None:
        self.stale = False
        fresh = PrefixSet()
        for route in self._links.routes():
            if route.prefix not in self._own:
                fresh.add(route.prefix)
        for server in _name_servers(self._resolv_conf):
            fresh.add(server)
        self.current = fresh


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
