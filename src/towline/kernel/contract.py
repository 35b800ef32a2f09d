"""What the engine asks of the kernel. Each Protocol has a real implementation and a stateful fake with named faults;
`tests/` runs one conformance suite against both.

All calls block and may be made from one worker thread at a time. None of them ever spawns a process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from towline.model.desired import Bridge, Defaults, Interface, Parent, Row, Vxlan
from towline.model.errors import KernelError
from towline.model.inner import Detour
from towline.model.ruleset import AddElements as AddElements
from towline.model.ruleset import AddTable as AddTable
from towline.model.ruleset import DeleteElements as DeleteElements
from towline.model.ruleset import DeleteForeign as DeleteForeign
from towline.model.ruleset import DeleteTable as DeleteTable
from towline.model.ruleset import ForeignChain as ForeignChain
from towline.model.ruleset import InsertForeign as InsertForeign
from towline.model.ruleset import NftChange as NftChange
from towline.model.ruleset import TableId
from towline.model.ruleset import TableState as TableState


class VxlanState(msgspec.Struct, frozen=True):
    """What a VXLAN device was made with. local: bare address, "" if none. plain: all else is as we make it (proxy on;
    no learning, no default remote, no miss notifications, UDP checksums on)."""

    vni: int
    port: int
    local: str
    plain: bool = True


class Link(msgspec.Struct, frozen=True):
    """A link as the kernel has it.

    addresses: CIDR with host part (IPv6 link-local ones that the kernel made are left out). ipv6_off: switched off, or
    the MTU is too small for it. accept_ra: it believes router advertisements. route_localnet: 127.0.0.0/8 is routed.
    """

    index: int
    name: str
    kind: str
    alias: str
    up: bool
    mtu: int
    mac: str
    master: int
    addresses: tuple[str, ...]
    ipv6_off: bool = False
    accept_ra: bool = False
    route_localnet: bool = False
    vxlan: VxlanState | None = None


class HostRoute(msgspec.Struct, frozen=True):
    """An on-link route of the main table: a prefix that is in use on this host (or reached through a VPN)."""

    prefix: str
    link: int


class Links(Protocol):
    """rtnetlink, in the host's namespace and in the one for overlay networks: a link's name says where it is
    (`model.desired.apart`). Verbs take many items, put all messages into one or two sends, and answer per item: None or
    the refusal; they raise nothing. Reading raises KernelError."""

    def create_bridges(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        """Make each bridge with its MAC, MTU, alias, settings and addresses; it comes up after its settings. EEXIST: a
        link of that name was there before, nothing was made. After any other error the caller removes what there is."""
        ...

    def repair_bridges(self, bridges: Sequence[Bridge]) -> list[KernelError | None]:
        """Bring existing links of these names to the desired state, changing only what differs
        (alias, MAC, MTU, settings, addresses, up). Addresses that somebody else added stay. A bridge with the right
        alias whose name somebody changed gets it back."""
        ...

    def ensure_parent(self, parent: Parent) -> KernelError | None:
        """Make it if it is ours and absent, and set ours up; a link of that name that is not ours stays as it is.
        ENODEV: it is not ours to make, or what it is made on is absent. EOPNOTSUPP: the kernel has no such links."""
        ...

    def silence(self, names: Sequence[str]) -> list[KernelError | None]:
        """Set links down: their routes go at once, the slow unlinking comes later. ENODEV if absent."""
        ...

    def disown(self, names: Sequence[str]) -> list[KernelError | None]:
        """Take our mark off links and leave them as they are otherwise. ENODEV if absent."""
        ...

    def remove(self, names: Sequence[str]) -> list[KernelError | None]:
        """Delete links and wait until the kernel has; slow (RCU), grouped by IFLA_GROUP. Absent links are no error."""
        ...

    def held(self) -> bool:
        """Whether the namespace for overlay networks is pinned, so that what is in it outlives this process, and has
        its settings."""
        ...

    def hold(self) -> None:
        """Pin it and set them; whoever makes a bridge in it finds it so. KernelError."""
        ...

    def let_go(self) -> None:
        """Unpin it if nothing of ours is in it, as after the removal of its last link. KernelError."""
        ...

    def dump(self) -> list[Link]: ...
    def find(self, name: str) -> Link | None: ...
    def routes(self) -> list[HostRoute]:
        """On-link routes of both families, main table; default routes are not in it."""
        ...


ELSEWHERE = "?"
"""In the place of a VTEP: an FDB row that leads where none of ours does (no VTEP, another port or VNI)."""


class Tunnels(Protocol):
    """VXLAN devices and their rows, in the namespace for overlay networks. Many items and messages go in one or two
    sends. Reading raises KernelError.

    They are found and removed by `Links`, as all links are. Addresses are in canonical form, MACs in lower case.
    """

    def create(self, tunnels: Sequence[Vxlan]) -> list[KernelError | None]:
        """Make each device, without rows, as a port of its bridge; up only when it is complete. Per item None or the
        refusal: EEXIST (a link of that name, or a device with this VNI and port), ENODEV (no such bridge). Nothing is
        left of a refused one."""
        ...

    def repair(self, tunnels: Sequence[Vxlan]) -> list[KernelError | None]:
        """Bring existing devices of these names to the desired state, changing only what differs, with the rows that
        they have. What the kernel does not change (VNI, port, local address, options) means that it is made anew. A
        device that was down has lost its neighbour rows: compare them next. EEXIST: the link is of another kind."""
        ...

    def silence(self, names: Sequence[str]) -> list[KernelError | None]:
        """Set devices down that are going: no frame passes, and what happens to their rows is reported no more. ENODEV
        if absent."""
        ...

    def set_rows(self, name: str, puts: Sequence[Row], gone: Sequence[Row]) -> KernelError | None:
        """Each put replaces what the device has for its MAC and addresses, without a moment in between; then what is
        gone goes, unless a put has taken it over (a MAC that has another VTEP by now, an address of another MAC).

        vtep "": no FDB row is meant. All are tried; answers the first refusal. ENODEV: no such device; EAFNOSUPPORT: a
        VTEP of the other family. KernelError with EINVAL, and nothing done: a MAC or an address that is none."""
        ...

    def announce(self, bridge: str, rows: Sequence[Row]) -> KernelError | None:
        """Tell everybody on the bridge of this host at which MACs these addresses are now: who remembers another one
        sends to nobody. Once; the caller repeats."""
        ...

    def rows(self, name: str) -> list[Row]:
        """The device's permanent rows, whoever made them. ENODEV: no such device."""
        ...


class Nft(Protocol):
    """nfnetlink. One `commit` is one transaction: all or nothing. The table for overlay networks is in their namespace;
    for a moment it may have what is refused in the host's."""

    def commit(self, changes: Sequence[NftChange]) -> None:
        """Raises KernelError naming the change that the kernel refused."""
        ...

    def read(self, table: TableId) -> TableState | None:
        """None if there is no such table. Retries when the ruleset changes under the dump (NLM_F_DUMP_INTR)."""
        ...

    def foreign_chains(self) -> list[tuple[TableId, str]]:
        """Table and name of every chain outside our tables."""
        ...

    def foreign_forward_chains(self) -> list[ForeignChain]:
        """Filter base chains at the forward hook (families ip, ip6, inet) outside our tables."""
        ...


class Sysctl(Protocol):
    """Paths are relative to /proc/sys, parts separated by "/", so that interface names with dots work."""

    def read(self, path: str) -> str | None:
        """The value without its newline; None if there is no such file."""
        ...

    def write(self, path: str, value: str) -> None:
        """KernelError with ENOENT, EACCES, EROFS, EINVAL."""
        ...


class Inside(msgspec.Struct, frozen=True):
    """A sandbox's namespace as it is. links: ours have their endpoint's alias here too. routes: (destination CIDR,
    gateway or "", interface name), main table, without those of automatic link-local addresses."""

    links: tuple[Link, ...]
    routes: tuple[tuple[str, str, str], ...]


class Sandboxes(Protocol):
    """Network namespaces and what is plugged into them.

    `path` names a namespace: a pinned one of ours, /proc/<pid>/ns/net, or any other; it is opened for each call and
    never kept. Raises model.errors.NotANamespace if it is none or the host's own, NamespaceGone if it is absent.
    """

    def make(self, path: str) -> None:
        """A new namespace with lo up, pinned at `path` (a bind mount). EEXIST if one is pinned there already."""
        ...

    def adopt(self, path: str, source: str) -> None:
        """Pin the namespace that is at `source` at `path` too, so that it has a path of ours. Errors as `make`."""
        ...

    def identity(self, path: str) -> tuple[int, int]:
        """Equal for two paths of one namespace, and for no others at the same time."""
        ...

    def drop(self, path: str) -> None:
        """Unpin; the kernel takes its links apart when the last process has left. Absent is no error; NotANamespace if
        something is there that `make` did not make."""
        ...

    def pinned(self, directory: str) -> list[str]:
        """Paths of sandboxes' namespaces pinned in a directory, and of what a crash left of pins."""
        ...

    def join(self, path: str, interface: Interface) -> None:
        """Make the veth pair with both ends in place (never moved), addresses, routes, sysctls, up: two sends. All or
        nothing: what was made is gone again when a KernelError is raised (it names the step). EEXIST if the sandbox has
        an interface of that name."""
        ...

    def resize(self, path: str, interface: Interface) -> None:
        """Give both ends of a pair that is plugged in the interface's MTU, the sandbox's end first. KernelError names
        the end that was refused; ENODEV if it is not there."""
        ...

    def leave(self, path: str, host_names: Sequence[str]) -> list[KernelError | None]:
        """Take the pairs apart by their host ends; returns when they are unlisted and their names free. Absent is no
        error."""
        ...

    def remove(self, path: str, interfaces: Sequence[Interface]) -> list[KernelError | None]:
        """Delete those that have no host end (`Interface.slave`). Absent is no error; what is not ours stays."""
        ...

    def set_defaults(self, path: str, defaults: Defaults) -> None:
        """Make the main table's default routes on interfaces of ours exactly these, in one send, without a moment
        without one where one stays. Default routes on interfaces that are not ours are left alone and come first: ours
        then has the metric behind theirs. KernelError: ENODEV if we have no such interface there, ENETUNREACH, ..."""
        ...

    def look(self, path: str) -> Inside: ...
    def announce(self, path: str, interface: Interface) -> None:
        """Send gratuitous ARP (request and reply) or an unsolicited neighbour advertisement for each address, the
        automatic link-local one too. Once; the caller repeats. Never blocks for long."""
        ...


class InnerRules(Protocol):
    """nftables, and a detour, inside sandboxes' namespaces. Paths and errors as `Sandboxes`; KernelError besides."""

    def read(self, path: str, tables: Sequence[TableId]) -> list[TableState]:
        """Those of the tables that are there."""
        ...

    def commit(self, path: str, changes: Sequence[NftChange]) -> None:
        """One transaction, as `Nft.commit`."""
        ...

    def detour(self, path: str) -> Detour | None:
        """The one that is there whole, else None."""
        ...

    def set_detour(self, path: str, detour: Detour | None) -> None:
        """Make it exactly this one. ENODEV: no such interface."""
        ...

    def forget(self, path: str, addresses: Sequence[str]) -> int:
        """As `Flows.forget`, of the namespace's own conntrack entries."""
        ...


class Flows(Protocol):
    """conntrack entries, over our own ctnetlink codec."""

    def forget(self, addresses: Sequence[str], *, protocol: str = "", port: int = 0) -> int:
        """Remove the entries in which one of these addresses is an end (original or reply direction), optionally only
        of a protocol ("tcp", "udp", "sctp", "icmp", "icmpv6") and with that original destination port; answers how
        many. Change the rules first. Takes as long as the kernel walks its table (tens of ms), so not before an answer.
        """
        ...

    def forget_untranslated(self, protocol: str, places: Sequence[tuple[str, int]]) -> int:
        """Remove the entries of a protocol towards these addresses and ports ("0.0.0.0", "::": any of the family) that
        are not translated at all: made while nobody was published there, they would keep their flow from it. Answers
        how many; costs as `forget`."""
        ...


class Kernel(Protocol):
    """Everything above for the network namespace of a host."""

    @property
    def links(self) -> Links: ...
    @property
    def tunnels(self) -> Tunnels: ...
    @property
    def nft(self) -> Nft: ...
    @property
    def sysctl(self) -> Sysctl: ...
    @property
    def sandboxes(self) -> Sandboxes: ...
    @property
    def inner(self) -> InnerRules: ...
    @property
    def flows(self) -> Flows: ...
    def close(self) -> None: ...


DriftKind = Literal["links", "routes", "rules", "rows", "overrun"]


class Drift(msgspec.Struct, frozen=True):
    """Something changed in the kernel that this process did not do (as far as the notification tells).

    links: a link, or an address that went; name is the link's name, or "". link: as it is now, without its addresses;
    None if it is gone or must be asked for. routes: the host's routes. rules: our tables, or a chain of other software
    that has a rule of ours, or should. rows: of a VXLAN device of ours, whose name this is. overrun: notifications were
    lost (ENOBUFS): everything must be compared.
    """

    kind: DriftKind
    name: str = ""
    link: Link | None = None


class Monitor(Protocol):
    """Notifications: a non-blocking file descriptor for the event loop, and what came in since the last read."""

    def filenos(self) -> tuple[int, ...]: ...
    def read(self) -> list[Drift]:
        """Never blocks; [] when there is nothing. Changes made through the Kernel of the same process are filtered out
        where the notification allows it (rules by process id)."""
        ...

    def close(self) -> None: ...
