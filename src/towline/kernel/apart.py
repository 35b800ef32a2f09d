"""The node's own network namespace for overlay networks: bridges, tunnels and host ends of endpoints are in it.

Bridged packets so pass none of the IP hooks of the host (br_netfilter is a matter of each namespace), and nothing of
the host can get in between. Packets of tunnels leave and arrive in the host's namespace: a VXLAN device keeps the one
that it was made from.

The daemon holds the namespace by its sockets as long as it runs. It is pinned by a bind mount while a network is in it,
so that the traffic goes on without the daemon, and whoever looks for it finds it there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from threading import Lock
from typing import ParamSpec, TypeVar

from towline.kernel import rtnl_codec as codec
from towline.kernel import sandboxes_pin
from towline.kernel.contract import Sysctl
from towline.kernel.netlink import NetlinkSocket
from towline.kernel.netns import HERE, entered, fresh, identity, opened
from towline.kernel.rtnl import FIRST_INDEX
from towline.kernel.rtnl_read import as_kernel_error
from towline.model.errors import KernelError, NamespaceGone, NotANamespace

P = ParamSpec("P")
T = TypeVar("T")

_SETTINGS = {
    "net/bridge/bridge-nf-call-iptables": "0",
    "net/bridge/bridge-nf-call-ip6tables": "0",
    "net/bridge/bridge-nf-call-arptables": "0",
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/default/disable_ipv6": "0",
}
"""Files that a kernel does not have need no value. Tunnels answer neighbour discovery only where IPv6 is on."""


class Apart:
    """path: where it is pinned; "": nowhere. Takes over what is pinned there, else makes a namespace."""

    def __init__(self, path: str, sysctl: Sysctl) -> None:
        self.path = path
        self._sysctl = sysctl
        self._lock = Lock()
        self._fd = _elsewhere(self._open)
        self.identity = identity(self._fd)

    def close(self) -> None:
        os.close(self._fd)

    def fileno(self) -> int:
        return self._fd

    def _open(self) -> int:
        """A descriptor by way of the pin would keep the pin's mount, and so the namespace, longer than it should."""
        try:
            with opened(self.path) as fd, entered(fd, self.path):
                return self._prepare()
        except (NamespaceGone, NotANamespace):
            self._clear()
            with fresh():
                return self._prepare()

    def _prepare(self) -> int:
        """From inside. A setting that is refused is told when a network is to be made."""
        with suppress(KernelError):
            self._set(self._sysctl)
        return os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)

    def _clear(self) -> None:
        """What is left of a pin goes: a namespace that only other mount namespaces still have would keep its VXLAN ids.
        Something else at its place is told when it is needed."""
        with suppress(NotANamespace, KernelError):
            sandboxes_pin.drop(self.path)

    def _set(self, sysctl: Sysctl) -> None:
        for name, value in _SETTINGS.items():
            if sysctl.read(name) not in (None, value):
                sysctl.write(name, value)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move the calling thread there for the duration of the block (see `netns.entered`)."""
        with entered(self._fd, self.path or "for overlay networks"):
            yield

    def make(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What opens its sockets there. By a thread of its own: the caller's does not leave home."""

        def work() -> T:
            with self.inside():
                return function(*args, **kwargs)

        return _elsewhere(work)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Pinned, with its settings, while something is made in it. KernelError if it cannot be."""
        with self._lock:
            try:
                self._pin()
            except NotANamespace as error:
                raise KernelError(errno.EEXIST, f"pin network namespace {self.path}", str(error)) from error
            with self.inside():
                self._set(self._sysctl)
                yield

    def held(self) -> bool:
        """Whether it is pinned where it should be; one that has no place is held by this object."""
        try:
            with opened(self.path) as fd:
                return identity(fd) == self.identity
        except (NamespaceGone, NotANamespace):
            return not self.path

    def in_order(self) -> bool:
        """Pinned where it should be, with its settings."""
        if not self.held():
            return False
        with self.inside():
            return all(self._sysctl.read(name) in (None, value) for name, value in _SETTINGS.items())

    def _pin(self) -> None:
        """Another namespace at its place, or what a reboot has left of a pin, is nobody's."""
        if self.held():
            return
        sandboxes_pin.drop(self.path)
        sandboxes_pin.adopt(self.path, f"/proc/thread-self/fd/{self._fd}")

    def release(self) -> None:
        """Unpin it when nothing of ours is in it any more."""
        with self._lock:
            if self.path and self.held() and self._is_empty():
                sandboxes_pin.drop(self.path)

    def _is_empty(self) -> bool:
        """Some kernels put links of their own into each namespace (net.core.fb_tunnels_only_for_init_net)."""
        with as_kernel_error("list links of overlay networks"), self.inside():
            sock = NetlinkSocket(codec.NETLINK_ROUTE)
            try:
                return not sock.holds(codec.get_link(), _is_ours)
            finally:
                sock.close()


def _elsewhere(function: Callable[[], T]) -> T:
    with ThreadPoolExecutor(1, "apart") as pool:
        return pool.submit(function).result()


def _is_ours(body: bytes) -> bool:
    info = codec.parse_link(body)
    return info is not None and info.link.index >= FIRST_INDEX
