"""Docker's own daemon in the same network namespace. It takes a bridge called docker0 for its own, whoever made it, and
then both engines hand out the same addresses on it.

Before we make the default bridge, Docker's rules tell whether the name is free for us. If it starts later, `doctor` and
the log say so, and the next start leaves docker0 to Docker if no sandbox is on it.
"""

from __future__ import annotations

import logging

from towline.control.predefined import DOCKER_BRIDGE
from towline.kernel.contract import Nft
from towline.model.info import Finding
from towline.model.network import Network
from towline.model.ruleset import TableId
from towline.model.view import View

log = logging.getLogger(__name__)

_IPTABLES = frozenset((TableId("ip", table), "DOCKER") for table in ("nat", "filter"))
_NFTABLES = TableId("ip", "docker-bridges")  # moby with --firewall-backend=nftables


def docker_is_here(nft: Nft) -> bool:
    """Whether Docker made rules in this network namespace since the machine started. Legacy iptables does not tell."""
    return any(chain in _IPTABLES or chain[0] == _NFTABLES for chain in nft.foreign_chains())


def is_shared(network: Network, nft: Nft) -> bool:
    """Whether Docker has, or will take, this network's bridge for its own."""
    return network.link == DOCKER_BRIDGE and docker_is_here(nft)


class DockerWatch:
    """Runs in the writer thread."""

    def __init__(self, view: View, nft: Nft) -> None:
        self._view = view
        self._nft = nft
        self._told = False

    def findings(self) -> list[Finding]:
        network = self._view.network_named("bridge")
        if network is None or not is_shared(network, self._nft):
            return []
        problem = f"its bridge {DOCKER_BRIDGE} is Docker's too: both hand out addresses of {_subnets(network)} on it"
        first = "disconnect its sandboxes and " if self._view.endpoints_of(network.id) else ""
        remedy = f"{first}restart towlined: it leaves {DOCKER_BRIDGE} to Docker and makes a bridge of another name"
        return [Finding("network bridge", problem, remedy)]

    def tell(self) -> None:
        """To the log, once."""
        found = [] if self._told else self.findings()
        for finding in found:
            self._told = True
            fields = {"object": finding.object, "problem": finding.problem, "remedy": finding.repair}
            log.warning("a bridge is shared with Docker", extra={"fields": fields})


def _subnets(network: Network) -> str:
    return ", ".join(pool.subnet for pool in network.pools)
