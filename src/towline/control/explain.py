"""An endpoint's whole path, in words, each step checked with the kernel. Runs in the writer thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from towline.control.compare import compare_bridge, compare_interface
from towline.control.explain_services import ServiceExplainer
from towline.control.explain_tunnel import tunnel_steps
from towline.dns.config import RESOLVER
from towline.drivers.registry import Drivers
from towline.kernel.contract import Inside, Kernel
from towline.model.desired import Defaults, Interface, Slave, kernel_name
from towline.model.endpoint import Endpoint, Published
from towline.model.errors import NamespaceGone, NotANamespace, TowlineError
from towline.model.info import EndpointPath, PathStep
from towline.model.network import Network
from towline.model.ruleset import Element
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.sandbox import SandboxDesired, members_of, port_elements, realise

Members = dict[tuple[object, str], dict[bytes, bytes]]
"""(table, set) -> what it holds."""

_NO_NAMES = "names are not served on this network; /etc/hosts has its own"


class Explainer:
    """holds: is this host port (protocol, address, port) held for us? namespace_gone: see `Reconciler`."""

    def __init__(
        self,
        view: View,
        kernel: Kernel,
        drivers: Drivers,
        *,
        services: ServiceExplainer,
        holds: Callable[[str, str, int], bool],
        namespace_gone: Callable[[str], None],
    ) -> None:
        self._view = view
        self._kernel = kernel
        self._drivers = drivers
        self._services = services
        self._holds = holds
        self._namespace_gone = namespace_gone

    def explain(self, sandbox: Sandbox, unserved: str) -> list[EndpointPath]:
        """One path per endpoint, in order of connection. unserved: what is wrong with the sandbox's name server."""
        will = realise(sandbox, self._view, self._drivers)
        inside = self._look(sandbox, will.netns)
        members = self._members(will.elements)
        found = []
        for endpoint in self._view.endpoints_in(sandbox.id):
            network = self._view.network(endpoint.network)
            if network is not None:
                steps = self._steps(sandbox, endpoint, network, will, inside, members, unserved)
                found.append(EndpointPath(endpoint.id, network.name, tuple(steps)))
        return found

    def _look(self, sandbox: Sandbox, netns: str) -> Inside | TowlineError | None:
        try:
            return self._kernel.sandboxes.look(netns) if netns else None
        except (NamespaceGone, NotANamespace) as error:
            self._namespace_gone(sandbox.id)
            return error
        except TowlineError as error:
            return error

    def _members(self, elements: Sequence[Element]) -> Members:
        states = {table: self._kernel.nft.read(table) for table in {element.table for element in elements}}
        return {(table, name): held for table, state in states.items() if state for name, held in state.sets.items()}

    def _steps(
        self,
        sandbox: Sandbox,
        endpoint: Endpoint,
        network: Network,
        will: SandboxDesired,
        inside: Inside | TowlineError | None,
        members: Members,
        unserved: str,
    ) -> Iterator[PathStep]:
        yield _names(endpoint, unserved)
        interface = next((i for i in will.interfaces if kernel_name(i.host_name) == endpoint.host_link), None)
        if interface is None:
            yield PathStep("interface", "none: the sandbox does not run, or the network has no interfaces")
            return
        yield _inner(interface, inside)
        yield _routes(interface, will.defaults, inside)
        if interface.slave is not None:
            yield self._parent(interface.slave)
            return
        yield self._outer(sandbox, will, interface)
        yield from self._bridge(network)
        if (tunnel := self._drivers.desired(network).tunnel) is not None:
            yield from tunnel_steps(network, tunnel, self._view, self._kernel)
        yield _rules(endpoint, will.elements, members)
        yield from self._ports(sandbox, endpoint, members)
        yield from self._services.steps(sandbox, endpoint, network)

    def _ports(self, sandbox: Sandbox, endpoint: Endpoint, members: Members) -> Iterator[PathStep]:
        for member in members_of(sandbox, self._view, self._drivers):
            for port in member.endpoint.published if member.endpoint.id == endpoint.id else ():
                yield self._port(port, port_elements(member, port), members)

    def _port(self, port: Published, elements: Sequence[Element], members: Members) -> PathStep:
        """host_port 0: a routed network opens the port itself, nothing is held on the host."""
        where = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
        problems = []
        if port.host_port and not self._holds(port.protocol, port.host_ip, port.host_port):
            problems.append("the port is not held on this host: another process may take it")
        if missing := _missing(elements, members):
            problems.append(f"{len(missing)} of its set elements are missing")
        text = f"{where}:{port.host_port}/{port.protocol} leads to port {port.port}"
        return PathStep("published port", text, "; ".join(problems))

    def _outer(self, sandbox: Sandbox, will: SandboxDesired, interface: Interface) -> PathStep:
        links = {end: self._kernel.links.find(end) for end in (interface.host_name, interface.bridge)}
        difference = compare_interface(sandbox, will, interface, links)
        text = f"{interface.host_name} is its end on this host, plugged into {interface.bridge}"
        return PathStep("host end", text, difference.finding.problem if difference else "")

    def _parent(self, slave: Slave) -> PathStep:
        link = self._kernel.links.find(slave.parent)
        text = f"a {slave.kind} ({slave.mode}) on {slave.parent} of this host, which neither filters nor reaches it"
        problem = "does not exist" if link is None else "" if link.up else "is down"
        return PathStep("parent", text, f"{slave.parent} {problem}" if problem else "")

    def _bridge(self, network: Network) -> Iterator[PathStep]:
        bridge = self._drivers.desired(network).bridge
        if bridge is not None:
            difference = compare_bridge(network, bridge, self._kernel.links.find(bridge.name))
            text = f"{bridge.name} with {', '.join(bridge.addresses) or 'no address'}"
            yield PathStep("bridge", text, difference.finding.problem if difference else "")


def _names(endpoint: Endpoint, unserved: str) -> PathStep:
    if not endpoint.dns_names:
        return PathStep("names", _NO_NAMES)
    return PathStep("names", f"answers to {', '.join(endpoint.dns_names)} at {RESOLVER}", unserved)


def _inner(interface: Interface, inside: Inside | TowlineError | None) -> PathStep:
    text = f"{interface.name} in the sandbox: {interface.mac}, {', '.join(interface.addresses)}"
    if not isinstance(inside, Inside):
        return PathStep("interface", text, str(inside) if inside else "the sandbox has no namespace")
    link = next((link for link in inside.links if link.name == interface.name), None)
    if link is None:
        return PathStep("interface", text, "does not exist in the namespace")
    problems = [f"address {a} is missing" for a in interface.addresses if a not in link.addresses]
    problems += [f"MAC is {link.mac}"] if link.mac != interface.mac else []
    problems += [] if link.up else ["is down"]
    return PathStep("interface", text, "; ".join(problems))


def _routes(interface: Interface, defaults: Defaults, inside: Inside | TowlineError | None) -> PathStep:
    wanted = [
        (family, destination, default)
        for family, destination, default in (("IPv4", "0.0.0.0/0", defaults.ipv4), ("IPv6", "::/0", defaults.ipv6))
        if default is not None and default[0] == interface.name
    ]
    if not wanted:
        return PathStep("default route", "does not lead here")
    text = ", ".join(f"{family} by {default[1] or 'the interface itself'}" for family, _, default in wanted)
    held = inside.routes if isinstance(inside, Inside) else ()
    missing = [family for family, destination, default in wanted if (destination, default[1], default[0]) not in held]
    return PathStep("default route", text, f"the {' and '.join(missing)} route is missing" if missing else "")


def _missing(elements: Sequence[Element], members: Members) -> list[Element]:
    return [e for e in elements if members.get((e.table, e.set), {}).get(e.key) != e.data]


def _rules(endpoint: Endpoint, elements: Sequence[Element], members: Members) -> PathStep:
    missing = _missing(elements, members)
    text = f"guarded against forged frames by {endpoint.host_link}; {len(elements)} set elements for the sandbox"
    return PathStep("rules", text, f"{len(missing)} elements are missing" if missing else "")
