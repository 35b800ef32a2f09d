"""Stateful fakes of the kernel's link, setting and notification contracts, with named faults.

They answer as the real kernel does; the conformance suite runs against both.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_interface

import msgspec

from towline.kernel.contract import Drift, HostRoute, Link
from towline.kernel.faults import Faults
from towline.kernel.rtnl import FIRST_INDEX
from towline.kernel.rtnl_codec import host_route
from towline.kernel.sysctl import check_path
from towline.model.desired import Bridge, Parent, is_apart, kernel_name
from towline.model.errors import KernelError

_MTU, _MIN_MTU, _MAX_MTU, _IPV6_MIN_MTU = 1500, 68, 65535, 1280
_NAME_MAX, _ALIAS_MAX = 15, 255
_SETTINGS = {
    "ipv6_off": "ipv6/disable_ipv6",
    "accept_ra": "ipv6/accept_ra",
    "route_localnet": "ipv4/route_localnet",
}
"""Fields of Link, and the sysctls that hold them."""


def _setting(link: str, key: str) -> str:
    family, name = key.split("/")
    return f"net/{family}/conf/{link}/{name}"


class FakeSysctl:
    """`values` may be changed at will. Fault steps: "write" (named by path)."""

    def __init__(self, values: dict[str, str] | None = None, *, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.values = {
            "net/ipv4/ip_forward": "0",
            "net/ipv6/conf/all/disable_ipv6": "0",
            "net/ipv6/conf/all/forwarding": "0",
            "net/ipv6/conf/default/disable_ipv6": "0",
            "net/ipv6/conf/default/accept_ra": "1",
            "net/ipv4/conf/default/route_localnet": "0",
            **(values or {}),
        }

    def read(self, path: str) -> str | None:
        if not check_path(path):
            raise KernelError(errno.EINVAL, f"read sysctl {path}")
        return self.values.get(path)

    def write(self, path: str, value: str) -> None:
        operation = f"write sysctl {path}"
        if not check_path(path):
            raise KernelError(errno.EINVAL, operation)
        if refused := self.faults.check("write", path, operation):
            raise refused
        if path not in self.values:
            raise KernelError(errno.ENOENT, operation)
        if self.values[path].lstrip("-").isdecimal() and not value.lstrip("-").isdecimal():
            raise KernelError(errno.EINVAL, operation)
        self.values[path] = value


class FakeLinks:
    """`links` is the state: name -> Link; put foreign links there. pinned: is the namespace for overlay networks?
    `extra_routes`: routes besides those of addresses.

    Fault steps, all named by the link: "create_bridges" (nothing is made), "configure" (made, without alias and down),
    "set_mtu", "add_address" (made, that part missing), "repair_bridges", "silence", "remove" (the link stays),
    "ensure_parent" (nothing is made); and "hold".
    """

    def __init__(self, sysctl: FakeSysctl | None = None, *, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.sysctl = sysctl or FakeSysctl()
        self.links: dict[str, Link] = {}
        self.extra_routes: list[HostRoute] = []
        self._next = FIRST_INDEX
        self.pinned = False

    def create_bridges(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        return self._while_held(bridges, [self._create(bridge) for bridge in bridges])

    def repair_bridges(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        return self._while_held(bridges, [self._repair(bridge) for bridge in bridges])

    def _while_held(self, bridges: Sequence[Bridge], results: list[KernelError | None]) -> list[KernelError | None]:
        self.pinned |= any(is_apart(bridge.name) for bridge in bridges)
        if any(results):
            self.let_go()
        return results

    def ensure_parent(self, parent: Parent) -> KernelError | None:
        link, operation = self.links.get(parent.name), f"create link {parent.name}"
        if link is not None:
            if parent.kind and link.alias == parent.alias:
                self._change(parent.name, up=True)
            return None
        if not parent.kind or (parent.lower and parent.lower not in self.links):
            return KernelError(errno.ENODEV, f"find link {parent.lower or parent.name}")
        if refused := self._refuse_name(parent.name, operation) or self.faults.check(
            "ensure_parent", parent.name, operation
        ):
            return refused
        self._put(Link(self._next, parent.name, parent.kind, parent.alias, True, _MTU, "02:00:00:00:00:98", 0, ()))
        self._next += 1
        return None

    def silence(self, names: Sequence[str]) -> list[KernelError | None]:
        return [self._silence(name) for name in names]

    def disown(self, names: Sequence[str]) -> list[KernelError | None]:
        return [self._disown(name) for name in names]

    def remove(self, names: Sequence[str]) -> list[KernelError | None]:
        found = [self._remove(name) for name in names]
        self.let_go()
        return found

    def held(self) -> bool:
        return self.pinned

    def hold(self) -> None:
        if refused := self.faults.check("hold", "", "pin network namespace"):
            raise refused
        self.pinned = True

    def let_go(self) -> None:
        self.pinned &= any(map(is_apart, self.links))

    def dump(self) -> list[Link]:
        return [self._with_settings(link) for link in self.links.values()]

    def find(self, name: str) -> Link | None:
        return self._with_settings(self.links[name]) if name in self.links else None

    def _with_settings(self, link: Link) -> Link:
        """The link with what its sysctls say; without one, as it was put here."""
        values = self.sysctl.values
        found = {
            field: values[path] != "0"
            for field, key in _SETTINGS.items()
            if (path := _setting(link.name, key)) in values
        }
        return msgspec.structs.replace(link, **found)

    def routes(self) -> list[HostRoute]:
        here = [link for link in self.links.values() if not is_apart(link.name)]
        own = [host_route(cidr, link.index) for link in here for cidr in link.addresses]
        return list(dict.fromkeys([*self.extra_routes, *(route for route in own if route)]))

    def add_foreign(self, name: str, kind: str = "veth", addresses: tuple[str, ...] = ()) -> Link:
        """A link that somebody else made."""
        return self._put(Link(len(self.links) + 2, name, kind, "", True, _MTU, "02:00:00:00:00:99", 0, addresses))

    def _put(self, link: Link) -> Link:
        self.links[link.name] = link
        for key in _SETTINGS.values():
            default = self.sysctl.values.get(_setting("default", key))
            if default is not None:
                self.sysctl.values.setdefault(_setting(link.name, key), default)
        return link

    def _change(self, name: str, **fields: object) -> None:
        self.links[name] = msgspec.structs.replace(self.links[name], **fields)

    def _create(self, bridge: Bridge) -> KernelError | None:
        name = bridge.name
        operation = f"create bridge {name}"
        if refused := self._refuse_name(name, operation) or self.faults.check("create_bridges", name, operation):
            return refused
        mac = bridge.mac.lower() or f"02:00:{self._next.to_bytes(4, 'big').hex(':')}"
        self._put(Link(self._next, name, "bridge", "", False, _MTU, mac, 0, ()))
        self._next += 1
        errors = [self._configure(bridge, operation), self._set_mtu(bridge) if bridge.mtu else None]
        errors += [self._add_address(bridge, cidr) for cidr in bridge.addresses]
        return next((error for error in errors if error), None) or self._set_ipv6(bridge)

    def _refuse_name(self, full: str, operation: str) -> KernelError | None:
        name = kernel_name(full)
        if len(name.encode()) > _NAME_MAX:
            return KernelError(errno.ERANGE, operation)
        if not name or name in (".", "..") or any(c in "/:%\0" or c.isspace() for c in name):
            return KernelError(errno.EINVAL, operation)
        return KernelError(errno.EEXIST, operation) if full in self.links else None

    def _configure(self, bridge: Bridge, operation: str) -> KernelError | None:
        if len(bridge.alias.encode()) > _ALIAS_MAX:
            return KernelError(errno.ERANGE, operation)
        if refused := self.faults.check("configure", bridge.name, operation):
            return refused
        self._change(bridge.name, alias=bridge.alias, up=True)
        self._set_route_localnet(bridge)
        return None

    def _set_route_localnet(self, bridge: Bridge) -> None:
        self.sysctl.values[_setting(bridge.name, "ipv4/route_localnet")] = str(int(bridge.route_localnet))

    def _set_mtu(self, bridge: Bridge) -> KernelError | None:
        operation = f"set mtu {bridge.mtu} on {bridge.name}"
        if not _MIN_MTU <= bridge.mtu <= _MAX_MTU:
            return KernelError(errno.EINVAL, operation)
        if refused := self.faults.check("set_mtu", bridge.name, operation):
            return refused
        self._change(bridge.name, mtu=bridge.mtu)
        return None

    def _add_address(self, bridge: Bridge, cidr: str) -> KernelError | None:
        operation = f"add address {cidr} to {bridge.name}"
        address = ip_interface(cidr)
        link = self.links[bridge.name]
        if refused := self.faults.check("add_address", bridge.name, operation):
            return refused
        if address.version == 6 and link.mtu < _IPV6_MIN_MTU:
            return KernelError(errno.EINVAL, operation)
        if str(address) not in link.addresses:
            self._change(bridge.name, addresses=(*link.addresses, str(address)))
        return None

    def _set_ipv6(self, bridge: Bridge) -> KernelError | None:
        if self.sysctl.read("net/ipv6/conf/all/disable_ipv6") is None:
            return None
        on = {"ipv6/disable_ipv6": "0", "ipv6/accept_ra": "0"}
        try:
            for key, value in ({"ipv6/disable_ipv6": "1"} if bridge.ipv6_off else on).items():
                path = _setting(bridge.name, key)
                if self.sysctl.read(path) not in (None, value):
                    self.sysctl.write(path, value)
        except KernelError as error:
            return error
        if bridge.ipv6_off:
            kept = tuple(cidr for cidr in self.links[bridge.name].addresses if ":" not in cidr)
            self._change(bridge.name, addresses=kept)
        return None

    def _repair(self, bridge: Bridge) -> KernelError | None:
        operation = f"repair bridge {bridge.name}"
        self._rename(bridge)
        link = self.links.get(bridge.name)
        if link is None:
            return KernelError(errno.ENODEV, operation)
        if link.kind != "bridge":
            return KernelError(errno.EEXIST, operation, f"a link of kind {link.kind or 'none'} has this name")
        if bridge.mtu and not _MIN_MTU <= bridge.mtu <= _MAX_MTU:
            return KernelError(errno.EINVAL, operation)
        if refused := self.faults.check("repair_bridges", bridge.name, operation):
            return refused
        self._change(
            bridge.name,
            alias=bridge.alias,
            up=True,
            mac=bridge.mac.lower() or link.mac,
            mtu=bridge.mtu or link.mtu,
            addresses=tuple(dict.fromkeys((*link.addresses, *(str(ip_interface(cidr)) for cidr in bridge.addresses)))),
        )
        self._set_route_localnet(bridge)
        return self._set_ipv6(bridge)

    def _rename(self, bridge: Bridge) -> None:
        renamed = next((link for link in self.links.values() if link.alias == bridge.alias), None)
        if bridge.name not in self.links and renamed is not None and renamed.kind == "bridge":
            for key in _SETTINGS.values():
                if (value := self.sysctl.values.pop(_setting(renamed.name, key), None)) is not None:
                    self.sysctl.values[_setting(bridge.name, key)] = value
            self._put(msgspec.structs.replace(self.links.pop(renamed.name), name=bridge.name))

    def _silence(self, name: str) -> KernelError | None:
        operation = f"set link {name} down"
        if name not in self.links:
            return KernelError(errno.ERANGE if len(kernel_name(name).encode()) > _NAME_MAX else errno.ENODEV, operation)
        if refused := self.faults.check("silence", name, operation):
            return refused
        # The kernel drops IPv6 addresses of a link that goes down, IPv4 ones stay.
        self._change(name, up=False, addresses=tuple(c for c in self.links[name].addresses if ":" not in c))
        return None

    def _disown(self, name: str) -> KernelError | None:
        operation = f"take our mark off link {name}"
        if refused := self.faults.check("disown", name, operation):
            return refused
        if name not in self.links:
            return KernelError(errno.ENODEV, operation)
        self._change(name, alias="")
        return None

    def _remove(self, name: str) -> KernelError | None:
        if name in self.links:
            if refused := self.faults.check("remove", name, f"remove link {name}"):
                return refused
            del self.links[name]
            for key in _SETTINGS.values():
                self.sysctl.values.pop(_setting(name, key), None)
        return None


class FakeMonitor:
    """`push` what the kernel would report; its descriptor becomes readable as the real one's does."""

    def __init__(self) -> None:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._waiting: dict[Drift, None] = {}

    def push(self, *drifts: Drift) -> None:
        if not self._waiting and drifts:
            self._writing.send(b"!")
        self._waiting.update(dict.fromkeys(drifts))

    def filenos(self) -> tuple[int, ...]:
        return (self._reading.fileno(),)

    def read(self) -> list[Drift]:
        if self._waiting:
            self._reading.recv(1)
        found, self._waiting = list(self._waiting), {}
        return found

    def close(self) -> None:
        self._reading.close()
        self._writing.close()
