"""IP forwarding, switched on when the first network needs it (dockerd's --ip-forward)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from towline.control.compare import Difference, WriteSysctl
from towline.kernel.contract import Sysctl
from towline.model.info import Finding
from towline.model.network import Network

IPV4 = ("net/ipv4/ip_forward",)
IPV6 = ("net/ipv6/conf/default/forwarding", "net/ipv6/conf/all/forwarding")


class Forwarding:
    """Runs in the writer thread. enabled=False: never touches the switches, as with --ip-forward=false."""

    def __init__(self, sysctl: Sysctl, *, enabled: bool) -> None:
        self._sysctl = sysctl
        self._enabled = enabled
        self._done: set[str] = set()

    def ensure(self, networks: Iterable[Network]) -> None:
        """KernelError if a switch cannot be set. What was set once is left to `differences` to watch."""
        for path in self._needed(networks):
            if path not in self._done:
                if self._sysctl.read(path) == "0":
                    self._sysctl.write(path, "1")
                self._done.add(path)

    def differences(self, networks: Iterable[Network]) -> list[Difference]:
        return [
            Difference(
                Finding(f"sysctl {path}", "is 0, so networks cannot reach beyond their host", "set it to 1"),
                WriteSysctl(path, "1"),
            )
            for path in dict.fromkeys(self._needed(networks))
            if self._sysctl.read(path) == "0"
        ]

    def _needed(self, networks: Iterable[Network]) -> Iterator[str]:
        """Endpoints of global networks get out by another network, of this host."""
        if not self._enabled:
            return
        for network in networks:
            if network.link and not network.internal and not network.spans:
                yield from IPV4 if network.enable_ipv4 else ()
                yield from IPV6 if network.enable_ipv6 else ()
