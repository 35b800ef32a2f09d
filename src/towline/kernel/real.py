"""The real kernel of the network namespace that the calling thread is in."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from towline.kernel.conntrack import CtNetlinkFlows
from towline.kernel.inner import RealInnerRules
from towline.kernel.monitor import NetlinkMonitor
from towline.kernel.nft import NfNetlinkNft
from towline.kernel.ports import HeldPorts
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.sandboxes import RealSandboxes
from towline.kernel.sysctl import ProcSysctl
from towline.kernel.vxlan import RtnlTunnels
from towline.model.ruleset import TableId


class RealKernel:
    """Implements `contract.Kernel`."""

    def __init__(self) -> None:
        self.sysctl = ProcSysctl()
        self.links = RtnlLinks(self.sysctl)
        self.tunnels = RtnlTunnels(ipv6=self.sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None)
        self.nft = NfNetlinkNft()
        self.sandboxes = RealSandboxes(self.sysctl)
        self.inner = RealInnerRules()
        self.flows = CtNetlinkFlows()

    def close(self) -> None:
        self.sandboxes.close()
        self.flows.close()
        self.tunnels.close()
        self.links.close()
        self.nft.close()


class Opened(NamedTuple):
    """reaper_links: a second client, for the thread that unlinks. The monitor is open: nothing after this is missed."""

    kernel: RealKernel
    reaper_links: RtnlLinks
    monitor: NetlinkMonitor
    ports: HeldPorts

    def close(self) -> None:
        self.kernel.close()
        self.reaper_links.close()
        self.monitor.close()
        self.ports.close()


def open_kernel(*, foreign: Collection[tuple[TableId, str]] = ()) -> Opened:
    """Sockets are opened here, in the caller's namespace, and stay in it. foreign: (table, base chain) of other
    software in which the monitor reports changes. OSError if the kernel lacks what we need."""
    kernel = RealKernel()
    reaper_links = RtnlLinks(kernel.sysctl)
    monitor = NetlinkMonitor(
        links_port=kernel.links.portid,
        nft_port=kernel.nft.portid,
        foreign=foreign,
        known=kernel.tunnels.known,
        rows_port=kernel.tunnels.portid,
    )
    return Opened(kernel, reaper_links, monitor, HeldPorts())
