"""Store against kernel, as plain values: what differs, in words and as the act that repairs it. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from towline.control.tunnel_acts import MakeTunnel, RepairTunnel, SetRows
from towline.firewall import admit_changes
from towline.kernel.contract import Link
from towline.kernel.nft_types import definition
from towline.model.desired import ALIAS_PREFIX, Bridge, Defaults, Interface, Parent, Vxlan, is_apart
from towline.model.info import Finding
from towline.model.inner import Inner
from towline.model.network import Network
from towline.model.ruleset import Chain, DeleteForeign, Element, ForeignChain, InsertForeign, Set, Table, TableState
from towline.model.sandbox import Sandbox
from towline.plan.sandbox import SandboxDesired

_KINDS = frozenset({"bridge", "vxlan", "veth"})


class MakeBridge(msgspec.Struct, frozen=True):
    network: Network
    bridge: Bridge


class Join(msgspec.Struct, frozen=True):
    """Plug a running sandbox's interface in again; `clear`: what is left of it goes first."""

    netns: str
    interface: Interface
    defaults: Defaults
    clear: bool = False


class SetInner(msgspec.Struct, frozen=True):
    """Bring the rules in a running sandbox's namespace to what they should be."""

    sandbox: str
    netns: str
    inner: Inner


class Resize(msgspec.Struct, frozen=True):
    """Give both ends of a running sandbox's interface their MTU."""

    netns: str
    interface: Interface


class Reroute(msgspec.Struct, frozen=True):
    """Set a running sandbox's default routes."""

    netns: str
    defaults: Defaults


class RepairBridge(msgspec.Struct, frozen=True):
    bridge: Bridge


class MakeParent(msgspec.Struct, frozen=True):
    """The link that interfaces are made on: make it, set it up."""

    parent: Parent


class Obstructed(msgspec.Struct, frozen=True):
    """A foreign link stands where ours should: nothing we may do."""

    network: Network


class RemoveLink(msgspec.Struct, frozen=True):
    name: str


class ReplaceTable(msgspec.Struct, frozen=True):
    table: Table
    elements: tuple[Element, ...]


class AddMembers(msgspec.Struct, frozen=True):
    """stale: what the sets hold under the same keys. It goes in the same transaction: the kernel overwrites nothing."""

    elements: tuple[Element, ...]
    stale: tuple[Element, ...] = ()


class DropMembers(msgspec.Struct, frozen=True):
    elements: tuple[Element, ...]


class DropNamespace(msgspec.Struct, frozen=True):
    path: str


class Hold(msgspec.Struct, frozen=True):
    """Pin the namespace for overlay networks."""


class LetGo(msgspec.Struct, frozen=True):
    """Unpin it if nothing of ours is in it."""


class WriteSysctl(msgspec.Struct, frozen=True):
    path: str
    value: str


class ChangeForeign(msgspec.Struct, frozen=True):
    changes: tuple[InsertForeign | DeleteForeign, ...]


Act = (
    MakeBridge
    | Join
    | Reroute
    | Resize
    | SetInner
    | RepairBridge
    | MakeParent
    | MakeTunnel
    | RepairTunnel
    | SetRows
    | Obstructed
    | RemoveLink
    | ReplaceTable
    | AddMembers
    | DropMembers
    | DropNamespace
    | Hold
    | LetGo
    | WriteSysctl
    | ChangeForeign
)


class Difference(msgspec.Struct, frozen=True):
    """sweep: the act removes something that the store does not know."""

    finding: Finding
    act: Act
    sweep: bool = False


def compare_links(
    desired: Iterable[tuple[Network, Bridge]],
    plugged: Iterable[tuple[Sandbox, SandboxDesired]],
    links: Sequence[Link],
    leaving: Collection[str],
    others: Iterable[Vxlan | Parent] = (),
    possible: Mapping[str, str] | None = None,
) -> list[Difference]:
    """plugged: running sandboxes. leaving: names of links on their way out; they are no difference. others: links that
    must be there and are compared elsewhere (`compare_tunnels`, `parents`). possible: name -> alias of those that may
    be there (`control.encryption`)."""
    by_name = {link.name: link for link in links}
    by_alias = {(link.alias, is_apart(link.name)): link for link in links}
    expected = {**(possible or {}), **{other.name: other.alias for other in others}}
    found: list[Difference] = []
    for network, bridge in desired:
        link = by_name.get(bridge.name) or by_alias.get((bridge.alias, is_apart(bridge.name)))
        expected[link.name if link else bridge.name] = bridge.alias
        if (difference := compare_bridge(network, bridge, link)) is not None:
            found.append(difference)
    for sandbox, will in plugged:
        for interface in will.interfaces:
            expected[interface.host_name] = interface.alias
            if (missing := compare_interface(sandbox, will, interface, by_name)) is not None:
                found.append(missing)
    strangers = (link for link in links if link.name not in leaving and expected.get(link.name) != link.alias)
    found.extend(
        Difference(Finding(f"link {link.name}", mark, "delete it"), RemoveLink(link.name), sweep=True)
        for link in strangers
        if (mark := _mark(link, expected))
    )
    return found


def _mark(link: Link, expected: Collection[str]) -> str:
    """By what a link that the store does not know is ours, in words; "" if it is not. In the namespace for overlay
    networks everything is that is of a kind that we make there."""
    if link.alias.startswith(ALIAS_PREFIX):
        return f"carries our mark {link.alias}, but the store knows nothing of it"
    if is_apart(link.name) and link.kind in _KINDS and link.name not in expected:
        return "is in the namespace for overlay networks, but the store knows nothing of it"
    return ""


def compare_bridge(network: Network, bridge: Bridge, link: Link | None) -> Difference | None:
    """link: the one of that name, or else the one that has its alias."""
    subject = f"network {network.name}"
    if link is None:
        finding = Finding(subject, f"its bridge {bridge.name} does not exist", "make it")
        return Difference(finding, MakeBridge(network, bridge))
    if link.kind != "bridge" or link.alias not in ("", bridge.alias):
        owner = f"marked {link.alias!r}" if link.alias else "not ours"
        problem = f"a {link.kind or 'plain'} link named {bridge.name}, {owner}, stands where its bridge should"
        return Difference(Finding(subject, problem, "rename or delete that link by hand"), Obstructed(network))
    if problems := _bridge_problems(bridge, link):
        finding = Finding(subject, f"bridge {bridge.name}: {'; '.join(problems)}", "correct it in place")
        return Difference(finding, RepairBridge(bridge))
    return None


def compare_interface(
    sandbox: Sandbox, will: SandboxDesired, interface: Interface, links: Mapping[str, Link | None]
) -> Difference | None:
    """links: at least the host end and its bridge, by name. A bridge that is missing is found on its own; what it lost
    with it is found here. Of an interface without a host end, everything is found inside."""
    if interface.slave is not None:
        return None
    link, bridge = links.get(interface.host_name), links.get(interface.bridge)
    problem = _interface_problem(interface, link, bridge)
    subject, ends = f"sandbox {sandbox.name}", f"{interface.name} ({interface.host_name} on this host)"
    if problem is None:
        if link is None or not interface.mtu or link.mtu == interface.mtu:
            return None
        finding = Finding(subject, f"{ends} has MTU {link.mtu}, not {interface.mtu}", "set it at both ends")
        return Difference(finding, Resize(will.netns, interface))
    finding = Finding(subject, f"{ends} {problem}", "plug it in again")
    return Difference(finding, Join(will.netns, interface, will.defaults, clear=link is not None))


def _interface_problem(interface: Interface, link: Link | None, bridge: Link | None) -> str | None:
    if link is None:
        return "does not exist"
    if link.alias != interface.alias:
        return "does not carry our mark"
    if not link.up:
        return "is down"
    if link.master != bridge.index if bridge else not link.master:
        return f"is not plugged into {interface.bridge}"
    return None


def _bridge_problems(bridge: Bridge, link: Link) -> list[str]:
    """Addresses that somebody added are left alone: they may carry traffic."""
    problems = []
    if link.name != bridge.name:
        problems.append(f"is named {link.name}")
    if link.alias != bridge.alias:
        problems.append("our mark is missing")
    if not link.up:
        problems.append("is down")
    if link.mac != bridge.mac:
        problems.append(f"MAC is {link.mac}, not {bridge.mac}")
    if bridge.mtu and link.mtu != bridge.mtu:
        problems.append(f"MTU is {link.mtu}, not {bridge.mtu}")
    problems.extend(f"address {a} is missing" for a in bridge.addresses if a not in link.addresses)
    return problems + _setting_problems(bridge, link)


def _setting_problems(bridge: Bridge, link: Link) -> list[str]:
    problems = []
    if link.ipv6_off != bridge.ipv6_off:
        problems.append(f"IPv6 is switched {'off' if link.ipv6_off else 'on'}")
    if link.accept_ra and not bridge.ipv6_off:
        problems.append("it believes router advertisements")
    if link.route_localnet != bridge.route_localnet:
        problems.append(f"route_localnet is {int(link.route_localnet)}, not {int(bridge.route_localnet)}")
    return problems


def compare_hold(bridges: Iterable[Bridge], links: Iterable[Link], *, held: bool) -> list[Difference]:
    """held: is the namespace for overlay networks pinned? Whoever makes a bridge in it pins it as well, and whoever
    removes the last link unpins it."""
    subject = "network namespace for overlay networks"
    needed = any(is_apart(bridge.name) for bridge in bridges)
    if needed and not held:
        problem = "is not pinned, so it would end with the daemon, or has other settings"
        return [Difference(Finding(subject, problem, "pin it and set them"), Hold())]
    if held and not needed and not any(is_apart(link.name) and link.kind in _KINDS for link in links):
        return [Difference(Finding(subject, "is pinned, but no network is in it", "unpin it"), LetGo(), sweep=True)]
    return []


def compare_pins(sandboxes: Iterable[Sandbox], pins: Iterable[str]) -> list[Difference]:
    """sandboxes: those that run. pins: namespaces pinned where ours are."""
    needed = {sandbox.netns for sandbox in sandboxes}
    return [
        Difference(
            Finding(f"network namespace {path}", "is pinned, but no sandbox lives in it", "unpin it"),
            DropNamespace(path),
            sweep=True,
        )
        for path in pins
        if path not in needed
    ]


def compare_table(table: Table, elements: Sequence[Element], state: TableState | None) -> list[Difference]:
    """elements: all that the table's sets should hold."""
    subject = f"table {table.id.family} {table.id.name}"
    if state is None:
        return [Difference(Finding(subject, "does not exist", "make it"), ReplaceTable(table, tuple(elements)))]
    if (problem := _static_problem(table, state)) is not None:
        act = ReplaceTable(table, tuple(elements))
        return [Difference(Finding(subject, problem, "replace it in one transaction"), act)]
    return _compare_elements(subject, elements, state)


def compare_foreign(chains: Sequence[ForeignChain]) -> list[Difference]:
    """Does what we admit get past the other software at the forward hook?"""
    found = []
    for chain in chains:
        if changes := admit_changes([chain]):
            subject = f"chain {chain.table.family} {chain.table.name} {chain.chain}"
            inserts = any(isinstance(change, InsertForeign) for change in changes)
            problem = "may drop the traffic of our networks" if inserts else "has our admit rule more than once"
            repair = "put our admit rule into it" if inserts else "delete the surplus ones"
            found.append(Difference(Finding(subject, problem, repair), ChangeForeign(changes)))
    return found


def _static_problem(table: Table, state: TableState) -> str | None:
    if state.dormant:
        return "is dormant"
    problems = (*(_chain_problem(c, state) for c in table.chains), *(_set_problem(s, state) for s in table.sets))
    return next((problem for problem in problems if problem is not None), None)


def _chain_problem(chain: Chain, state: TableState) -> str | None:
    rules = state.chains.get(chain.name)
    if rules is None:
        return f"chain {chain.name} does not exist"
    if state.hooks.get(chain.name) != chain.hook:
        return f"chain {chain.name} has another hook, priority or policy than ours"
    if chain.ours and rules != tuple(rule.name for rule in chain.rules):
        return f"chain {chain.name} holds other rules than ours"
    return None


def _set_problem(item: Set, state: TableState) -> str | None:
    if item.name not in state.sets:
        return f"set {item.name} does not exist"
    if state.definitions.get(item.name) != definition(item):
        return f"set {item.name} has another type than ours"
    return None


def _compare_elements(subject: str, elements: Sequence[Element], state: TableState) -> list[Difference]:
    wanted: dict[str, dict[bytes, bytes]] = {}
    for element in elements:
        wanted.setdefault(element.set, {})[element.key] = element.data
    table = elements[0].table if elements else state.id
    held = [Element(table, name, key, data) for name, members in state.sets.items() for key, data in members.items()]
    extra = tuple(e for e in held if e.key not in wanted.get(e.set, {}))
    stale = tuple(e for e in held if wanted.get(e.set, {}).get(e.key, e.data) != e.data)
    missing = tuple(e for e in elements if state.sets[e.set].get(e.key) != e.data)
    found = []
    if extra:
        finding = Finding(subject, f"{_count(extra)} that no network needs", "delete them")
        found.append(Difference(finding, DropMembers(extra), sweep=True))
    if missing:
        finding = Finding(subject, f"{_count(missing)} missing", "add them")
        found.append(Difference(finding, AddMembers(missing, stale)))
    return found


def _count(elements: Sequence[Element]) -> str:
    names = sorted({e.set for e in elements})
    return f"{len(elements)} element{'s' if len(elements) > 1 else ''} in {', '.join(names)}"
