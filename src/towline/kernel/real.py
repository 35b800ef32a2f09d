"""The real kernel of the network namespace that the calling thread is in, and the namespace for overlay networks."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from towline.kernel.apart import Apart
from towline.kernel.conntrack import CtNetlinkFlows
from towline.kernel.inner import RealInnerRules
from towline.kernel.links_apart import SplitLinks
from towline.kernel.monitor import NetlinkMonitor
from towline.kernel.monitor_apart import SplitMonitor
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.nft import NfNetlinkNft
from towline.kernel.nft_apart import SplitNft
from towline.kernel.ports import HeldPorts
from towline.kernel.rtnl import RtnlLinks
from towline.kernel.rtnl_codec import NETLINK_ROUTE
from towline.kernel.sandboxes import RealSandboxes
from towline.kernel.sysctl import ProcSysctl
from towline.kernel.tunnels_apart import ApartTunnels
from towline.kernel.vxlan import Outside, RtnlTunnels
from towline.model.ruleset import TableId


class RealKernel:
    """Implements `contract.Kernel`. apart: where the namespace for overlay networks is pinned, "": nowhere, it lasts as
    long as this object. apart_tables: those of nftables that are in it."""

    def __init__(self, apart: str = "", apart_tables: Collection[TableId] = ()) -> None:
        self.sysctl = ProcSysctl()
        ipv6 = self.sysctl.read("net/ipv6/conf/all/disable_ipv6") is not None
        self.place = Apart(apart, self.sysctl)
        self.links_here = RtnlLinks(self.sysctl)
        self.links_there = self.place.make(RtnlLinks, self.sysctl)
        self.links = SplitLinks(self.links_here, self.links_there, self.place)
        outside = Outside(NetlinkSocket(NETLINK_ROUTE), self.place.fileno())
        self.tunnels_there = self.place.make(RtnlTunnels, ipv6=ipv6, outside=outside)
        self.tunnels = ApartTunnels(self.tunnels_there, self.place)
        self.nft_here, self.nft_there = NfNetlinkNft(), self.place.make(NfNetlinkNft)
        self.nft = SplitNft(self.nft_here, self.nft_there, apart_tables)
        self.sandboxes = RealSandboxes(self.sysctl, self.place)
        self.inner = RealInnerRules()
        self.flows = CtNetlinkFlows()

    def close(self) -> None:
        self.sandboxes.close()
        self.flows.close()
        self.tunnels.close()
        self.links.close()
        self.nft.close()
        self.place.close()

    def more_links(self) -> SplitLinks:
        """For another thread."""
        return SplitLinks(RtnlLinks(self.sysctl), self.place.make(RtnlLinks, self.sysctl), self.place)

    def monitor(self, foreign: Collection[tuple[TableId, str]] = ()) -> SplitMonitor:
        """Open: nothing after this is missed. foreign: (table, base chain) of other software that it watches."""
        here = NetlinkMonitor(links_port=self.links_here.portid, nft_port=self.nft_here.portid, foreign=foreign)
        there = self.place.make(
            NetlinkMonitor,
            links_port=self.links_there.portid,
            nft_port=self.nft_there.portid,
            known=self.tunnels_there.known,
            rows_port=self.tunnels_there.portid,
        )
        return SplitMonitor(here, there)


class Opened(NamedTuple):
    """reaper_links: a second client, for the thread that unlinks. The monitor is open: nothing after this is missed."""

    kernel: RealKernel
    reaper_links: SplitLinks
    monitor: SplitMonitor
    ports: HeldPorts

    def close(self) -> None:
        self.reaper_links.close()
        self.monitor.close()
        self.ports.close()
        self.kernel.close()


def open_kernel(
    *, foreign: Collection[tuple[TableId, str]] = (), apart: str = "", apart_tables: Collection[TableId] = ()
) -> Opened:
    """Sockets are opened here, in the caller's namespace and in that for overlay networks, and stay there. foreign:
    (table, base chain) of other software in which the monitor reports changes. OSError if the kernel lacks what we
    need. apart, apart_tables: see `RealKernel`."""
    kernel = RealKernel(apart, apart_tables)
    return Opened(kernel, kernel.more_links(), kernel.monitor(foreign), HeldPorts())
