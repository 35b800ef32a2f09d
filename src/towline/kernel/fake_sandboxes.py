"""Stateful fakes of the namespace and conntrack contracts, with named faults. They answer as the real kernel does; the
conformance suite runs against both.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterator, Sequence
from ipaddress import ip_address, ip_interface
from os.path import dirname

import msgspec

from towline.kernel.conntrack_codec import protocol_number
from towline.kernel.contract import Inside, Link
from towline.kernel.fake import FakeLinks
from towline.kernel.faults import Faults
from towline.model.desired import ALIAS_PREFIX, Defaults, Interface, Route, Slave, kernel_name
from towline.model.errors import KernelError, NamespaceGone, NotANamespace

_MTU, _IPV6_MIN_MTU = 1500, 1280
_NAME_MAX = 15
_LOOPBACK = Link(1, "lo", "", "", True, 65536, "00:00:00:00:00:00", 0, ("127.0.0.1/8", "::1/128"))
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_BEST_METRIC = {4: 0, 6: 1024}


class FakeRoute(msgspec.Struct, frozen=True):
    destination: str
    gateway: str
    interface: str
    metric: int = 0


class FakeNamespace(msgspec.Struct):
    """May be changed at will. links: name -> Link. hosts: name of an inner end -> its host end. parents: name
    of a link that has none -> the link of the host that it is on. routes: without those
    that follow from addresses. announced: what was announced, in order."""

    pinned: bool
    links: dict[str, Link]
    hosts: dict[str, str] = {}
    parents: dict[str, str] = {}
    routes: list[FakeRoute] = []
    sysctls: dict[str, str] = {}
    announced: list[Interface] = []


class FakeSandboxes:
    """`namespaces` is the state: path -> namespace. files: paths of something else.

    A pair exists as long as its host end is in `links`. Fault steps: named by path "make", "drop", "set_defaults",
    "look"; by the host end "join" (nothing is made), "mark" (alias of the host end), "configure" (alias of the inner
    end), "sysctl", "set_up", "add_address", "add_route" (what was made is gone again), "leave" (the pair stays),
    "resize"; by the interface "announce".
    """

    def __init__(self, links: FakeLinks, *, faults: Faults | None = None) -> None:
        self.links = links
        self.faults = faults or Faults()
        self.namespaces: dict[str, FakeNamespace] = {}
        self.files: set[str] = set()
        self._next = 2

    def close(self) -> None:
        pass

    def add_foreign(self, path: str) -> FakeNamespace:
        """Somebody else's namespace."""
        return self._add(path, pinned=False)

    def end(self, path: str) -> None:
        """The last process has left: the kernel takes the namespace and its pairs apart."""
        for name in self._get(path).hosts.values():
            self.links.links.pop(name, None)
        del self.namespaces[path]

    def make(self, path: str) -> None:
        operation = f"pin network namespace {path}"
        if path in self.files or path in self.namespaces:
            raise KernelError(errno.EEXIST, operation)
        self._check("make", path, operation)
        self._add(path, pinned=True)

    def drop(self, path: str) -> None:
        found = self.namespaces.get(path)
        if path in self.files or (found and not found.pinned):
            raise NotANamespace(f"{path} is not a pinned network namespace: it is left alone")
        if found:
            self._check("drop", path, f"unpin network namespace {path}")
            self.end(path)

    def pinned(self, directory: str) -> list[str]:
        return sorted(path for path, found in self.namespaces.items() if found.pinned and dirname(path) == directory)

    def join(self, path: str, interface: Interface) -> None:
        namespace = self._get(path)
        if interface.slave is None:
            self._make_pair(path, namespace, interface)
        else:
            self._make_slave(path, namespace, interface, interface.slave)
        try:
            self._configure(namespace, interface)
        except KernelError:
            if interface.slave is None:
                del self.links.links[interface.host_name]
                self._prune(namespace)
            else:
                self._forget(namespace, interface.name)
            raise

    def resize(self, path: str, interface: Interface) -> None:
        namespace = self._get(path)
        self._check("resize", interface.host_name, f"set mtu {interface.mtu} on {interface.name}")
        for links, name in ((namespace.links, interface.name), (self.links.links, interface.host_name)):
            if name not in links:
                raise KernelError(errno.ENODEV, f"set mtu {interface.mtu} on {name}")
            links[name] = msgspec.structs.replace(links[name], mtu=interface.mtu)

    def adopt(self, path: str, source: str) -> None:
        namespace = self._get(source)
        operation = f"pin network namespace {path}"
        if path in self.files or path in self.namespaces:
            raise KernelError(errno.EEXIST, operation)
        self._check("adopt", path, operation)
        self.namespaces[path] = namespace

    def identity(self, path: str) -> tuple[int, int]:
        return 0, id(self._get(path))

    def leave(self, path: str, host_names: Sequence[str]) -> list[KernelError | None]:
        return [self._leave(name) for name in host_names]

    def remove(self, path: str, interfaces: Sequence[Interface]) -> list[KernelError | None]:
        namespace = self._get(path)
        return [self._remove(namespace, interface) for interface in interfaces]

    def _remove(self, namespace: FakeNamespace, interface: Interface) -> KernelError | None:
        link = namespace.links.get(interface.name)
        if link is None or interface.name not in namespace.parents or link.alias not in ("", interface.alias):
            return None
        if refused := self.faults.check("leave", interface.host_name, f"remove interface {interface.name}"):
            return refused
        self._forget(namespace, interface.name)
        return None

    def set_defaults(self, path: str, defaults: Defaults) -> None:
        namespace = self._get(path)
        self._check("set_defaults", path, f"set default routes in {path}")
        changed = namespace.routes
        for version, wanted in ((4, defaults.ipv4), (6, defaults.ipv6)):
            changed = _with_default(namespace, changed, version, wanted)
        namespace.routes = changed

    def look(self, path: str) -> Inside:
        namespace = self._get(path)
        self._check("look", path, f"look into {path}")
        routes = ((route.destination, route.gateway, route.interface) for route in namespace.routes)
        return Inside(tuple(namespace.links.values()), (*routes, *_follows(namespace)))

    def announce(self, path: str, interface: Interface) -> None:
        namespace = self._get(path)
        operation = f"announce addresses of {interface.name}"
        if interface.name not in namespace.links:
            raise KernelError(errno.ENODEV, operation)
        self._check("announce", interface.name, operation)
        namespace.announced.append(interface)

    def _add(self, path: str, *, pinned: bool) -> FakeNamespace:
        made = FakeNamespace(pinned, {"lo": _LOOPBACK})
        self.namespaces[path] = made
        return made

    def _get(self, path: str) -> FakeNamespace:
        if path in self.files:
            raise NotANamespace(f"{path} is not a network namespace")
        if path not in self.namespaces:
            raise NamespaceGone(f"there is no network namespace at {path}: it was removed, or its process has ended")
        self._prune(self.namespaces[path])
        return self.namespaces[path]

    def _prune(self, namespace: FakeNamespace) -> None:
        ends = [*namespace.hosts.items(), *namespace.parents.items()]
        for name in [name for name, host in ends if host not in self.links.links]:
            self._forget(namespace, name)

    def _forget(self, namespace: FakeNamespace, name: str) -> None:
        namespace.hosts.pop(name, None)
        namespace.parents.pop(name, None)
        del namespace.links[name]
        namespace.routes = [route for route in namespace.routes if route.interface != name]

    def _make_slave(self, path: str, namespace: FakeNamespace, interface: Interface, slave: Slave) -> None:
        name = interface.name
        operation = f"make {slave.kind} {name} on {slave.parent} in {path}"
        if slave.parent not in self.links.links:
            raise KernelError(errno.ENODEV, operation, f"the host has no link {slave.parent}")
        _check_name(name, operation)
        if name in namespace.links:
            raise KernelError(errno.EEXIST, operation, f"the sandbox has an interface {name}")
        self._check("join", interface.host_name, operation)
        self._next += 1
        namespace.parents[name] = slave.parent
        mtu = interface.mtu or _MTU
        namespace.links[name] = Link(self._next, name, slave.kind, "", False, mtu, interface.mac.lower(), 0, ())

    def _make_pair(self, path: str, namespace: FakeNamespace, interface: Interface) -> None:
        host, name = interface.host_name, interface.name
        bridge = self.links.find(interface.bridge)
        if bridge is None:
            raise KernelError(errno.ENODEV, f"plug {host} into bridge {interface.bridge}")
        operation = f"make {host} with {name} in {path}"
        if host in self.links.links:
            raise KernelError(errno.EEXIST, operation, f"the host has a link {host}")
        for each in (kernel_name(host), name):
            _check_name(each, operation)
        if name in namespace.links:
            raise KernelError(errno.EEXIST, operation, f"the sandbox has an interface {name}")
        self._check("join", host, operation)
        self._check("mark", host, f"set alias and hairpin of {host}")
        self._next += 1
        mtu = interface.mtu or _MTU
        self.links.add_foreign(host, "veth")
        self.links.links[host] = msgspec.structs.replace(
            self.links.links[host], alias=interface.alias, mtu=mtu, master=bridge.index, up=True
        )
        namespace.hosts[name] = host
        namespace.links[name] = Link(self._next, name, "veth", "", False, mtu, interface.mac.lower(), 0, ())

    def _configure(self, namespace: FakeNamespace, interface: Interface) -> None:
        host, name = interface.host_name, interface.name
        ipv6 = f"net/ipv6/conf/{name}/disable_ipv6"
        known = {f"net/ipv4/conf/{name}/{setting}": "0" for setting in ("forwarding", "rp_filter")}
        namespace.sysctls |= {ipv6: "1" if interface.ipv6_off else "0", "net/ipv6/conf/all/forwarding": "0", **known}
        for path, value in interface.sysctls:
            operation = f"write sysctl {path}"
            if not path.startswith("net/"):
                raise KernelError(errno.EPERM, operation, "it is not a setting of a network namespace")
            self._check("sysctl", host, operation)
            if path not in namespace.sysctls:
                raise KernelError(errno.ENOENT, operation)
            namespace.sysctls[path] = value
        self._check("configure", host, f"set alias of {name}")
        self._check("set_up", host, f"set {name} up")
        namespace.links[name] = msgspec.structs.replace(namespace.links[name], alias=interface.alias, up=True)
        for cidr in interface.addresses:
            self._add_address(namespace, interface, cidr)
        for route in interface.routes:
            self._add_route(namespace, interface, route)

    def _add_address(self, namespace: FakeNamespace, interface: Interface, cidr: str) -> None:
        link = namespace.links[interface.name]
        operation = f"add address {cidr} to {interface.name}"
        self._check("add_address", interface.host_name, operation)
        if ":" in cidr and link.mtu < _IPV6_MIN_MTU:
            raise KernelError(errno.EINVAL, operation)
        if ":" in cidr and interface.ipv6_off:
            raise KernelError(errno.EACCES, operation)
        addresses = (*link.addresses, str(ip_interface(cidr)))
        namespace.links[interface.name] = msgspec.structs.replace(link, addresses=addresses)

    def _add_route(self, namespace: FakeNamespace, interface: Interface, route: Route) -> None:
        via = f" via {route.gateway}" if route.gateway else ""
        operation = f"add route {route.destination}{via} on {interface.name}"
        self._check("add_route", interface.host_name, operation)
        if any(found.destination == route.destination for found in namespace.routes):
            raise KernelError(errno.EEXIST, operation)
        _check_gateway(namespace, interface.name, route.gateway, operation)
        namespace.routes.append(FakeRoute(route.destination, route.gateway, interface.name))

    def _leave(self, name: str) -> KernelError | None:
        if name in self.links.links:
            if refused := self.faults.check("leave", name, f"remove link {name}"):
                return refused
            del self.links.links[name]
        return None

    def _check(self, verb: str, name: str, operation: str) -> None:
        if refused := self.faults.check(verb, name, operation):
            raise refused


def _check_name(name: str, operation: str) -> None:
    if len(name.encode()) > _NAME_MAX:
        raise KernelError(errno.ERANGE, operation)
    if not name or name in (".", "..") or any(c in "/:%\0" or c.isspace() for c in name):
        raise KernelError(errno.EINVAL, operation)


def _check_gateway(namespace: FakeNamespace, name: str, gateway: str, operation: str) -> None:
    if not gateway:
        return
    address = ip_address(gateway)
    near = any(address in ip_interface(cidr).network for cidr in namespace.links[name].addresses)
    if not near and not (address.version == 6 and address.is_link_local):
        raise KernelError(errno.ENETUNREACH if address.version == 4 else errno.EHOSTUNREACH, operation)


def _with_default(
    namespace: FakeNamespace, routes: list[FakeRoute], version: int, wanted: tuple[str, str] | None
) -> list[FakeRoute]:
    ours = {name for name, link in namespace.links.items() if link.alias.startswith(ALIAS_PREFIX)}
    here = [route for route in routes if route.destination == _EVERYWHERE[version]]
    metrics = [route.metric for route in here if route.interface not in ours]
    kept = [route for route in routes if route not in here or route.interface not in ours]
    if wanted is None:
        return kept
    name, gateway = wanted[0], wanted[1] and str(ip_address(wanted[1]))
    if name not in ours:
        detail = "the sandbox has no interface of ours so named"
        raise KernelError(errno.ENODEV, f"set default route on {name}", detail)
    _check_gateway(namespace, name, gateway, f"set default route {gateway and f'via {gateway} '}on {name}")
    metric = max(metrics) + 1 if metrics else _BEST_METRIC[version]
    return [*kept, FakeRoute(_EVERYWHERE[version], gateway, name, metric)]


def _follows(namespace: FakeNamespace) -> Iterator[tuple[str, str, str]]:
    """The routes that the kernel makes for addresses."""
    for link in namespace.links.values():
        for cidr in () if link.name == "lo" else link.addresses:
            network = ip_interface(cidr).network
            if network.prefixlen < 32 or network.version == 6:
                yield str(network), "", link.name


class FakeFlow(msgspec.Struct, frozen=True):
    """A conntrack entry. Addresses (source, destination) of both directions; port: the original destination's."""

    original: tuple[str, str]
    reply: tuple[str, str]
    protocol: str = "udp"
    port: int = 0


class FakeFlows:
    """`flows` is the state. Fault step: "forget", named by the first address."""

    def __init__(self, *, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.flows: list[FakeFlow] = []

    def close(self) -> None:
        pass

    def forget(self, addresses: Sequence[str], *, protocol: str = "", port: int = 0) -> int:
        protocol_number(protocol)
        wanted = {ip_address(address) for address in addresses}
        if refused := self.faults.check("forget", next(iter(addresses), ""), "remove flows"):
            raise refused
        kept = [
            flow
            for flow in self.flows
            if not wanted & set(map(ip_address, (*flow.original, *flow.reply)))
            or protocol not in ("", flow.protocol)
            or port not in (0, flow.port)
        ]
        gone = len(self.flows) - len(kept)
        self.flows = kept
        return gone

    def forget_untranslated(self, protocol: str, places: Sequence[tuple[str, int]]) -> int:
        protocol_number(protocol)
        wanted = {(ip_address(address), port) for address, port in places}
        if refused := self.faults.check("forget", next(iter(places), ("", 0))[0], "remove flows"):
            raise refused
        gone = [flow for flow in self.flows if flow.protocol == protocol and _is_untranslated_to(flow, wanted)]
        self.flows = [flow for flow in self.flows if flow not in gone]
        return len(gone)


def _is_untranslated_to(flow: FakeFlow, places: Collection[tuple[object, int]]) -> bool:
    target = ip_address(flow.original[1])
    anywhere = ip_address("0.0.0.0" if target.version == 4 else "::")
    return flow.original == flow.reply[::-1] and bool({(target, flow.port), (anywhere, flow.port)} & set(places))
