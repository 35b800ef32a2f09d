"""What the kernel must hold for a sandbox: a function of the store now. A change is the difference of two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from towline.drivers.registry import Drivers
from towline.firewall import PublishedPort, endpoint_elements, mesh_address_elements, published_elements
from towline.model.desired import Defaults, Interface
from towline.model.endpoint import Published
from towline.model.ruleset import Element
from towline.model.sandbox import MESH, Sandbox
from towline.model.view import View
from towline.plan.gateways import Gateways, Member, choose


class SandboxDesired(msgspec.Struct, frozen=True):
    """netns "": nothing at all, the sandbox does not run. datagrams: host address and port of published UDP ports."""

    netns: str = ""
    interfaces: tuple[Interface, ...] = ()
    defaults: Defaults = Defaults()
    elements: tuple[Element, ...] = ()
    datagrams: tuple[tuple[str, int], ...] = ()


NOTHING = SandboxDesired()


class Transition(msgspec.Struct, frozen=True):
    """From one desired state of a sandbox to another. defaults: None if they stay; former: what they were. opened: UDP
    ports of the host that are published only now."""

    netns: str
    joins: tuple[Interface, ...] = ()
    leaves: tuple[Interface, ...] = ()
    defaults: Defaults | None = None
    former: Defaults = Defaults()
    gains: tuple[Element, ...] = ()
    losses: tuple[Element, ...] = ()
    opened: tuple[tuple[str, int], ...] = ()


Known = dict[str, Member]
"""What was found for endpoints before, by their ids: most are the same in all states of one change."""


def members_of(sandbox: Sandbox, view: View, drivers: Drivers, known: Known | None = None) -> list[Member]:
    """Endpoints that are plugged in (not those on host and none), in order of connection."""
    return list(_members(sandbox, view, drivers, {} if known is None else known))


def _members(sandbox: Sandbox, view: View, drivers: Drivers, known: Known) -> Iterator[Member]:
    for endpoint in view.endpoints_in(sandbox.id):
        network = view.network(endpoint.network)
        if network is None:
            continue
        member = known.get(endpoint.id)
        if member is None or member.endpoint is not endpoint or member.network is not network:
            attachment = drivers.get(network.driver).attach(network, endpoint)
            if attachment is None:
                continue
            member = known[endpoint.id] = Member(endpoint, network, attachment)
        yield member


def realise(sandbox: Sandbox, view: View, drivers: Drivers, known: Known | None = None) -> SandboxDesired:
    if sandbox.state != "running" or not sandbox.netns:
        return NOTHING
    members = members_of(sandbox, view, drivers, known)
    return SandboxDesired(
        netns=sandbox.netns,
        interfaces=tuple(member.attachment.interface for member in members),
        defaults=_defaults(choose(members)),
        elements=tuple(dict.fromkeys(element for member in members for element in _elements(member))),
        datagrams=tuple(
            (port.host_ip, port.host_port)
            for member in members
            for port in member.endpoint.published
            if port.protocol == "udp" and port.host_port
        ),
    )


def _defaults(gateways: Gateways) -> Defaults:
    def route(member: Member | None, gateway: str | None) -> tuple[str, str] | None:
        return None if member is None or gateway is None else (member.attachment.interface.name, gateway)

    return Defaults(
        ipv4=route(gateways.ipv4, gateways.ipv4 and gateways.ipv4.attachment.gateway4),
        ipv6=route(gateways.ipv6, gateways.ipv6 and gateways.ipv6.attachment.gateway6),
    )


def _elements(member: Member) -> Iterable[Element]:
    endpoint, attachment = member.endpoint, member.attachment
    if attachment.rules is None:
        return
    mesh = endpoint.sandbox == MESH
    yield from endpoint_elements(
        attachment.rules,
        endpoint.host_link,
        endpoint.mac,
        attachment.interface.addresses,
        router=mesh and member.network.ingress,
        hub=mesh and not member.network.ingress,
    )
    if mesh and not member.network.ingress:
        yield from mesh_address_elements(attachment.interface.addresses)
    for published in endpoint.published:
        yield from port_elements(member, published)


def port_elements(member: Member, published: Published) -> tuple[Element, ...]:
    """What one published port of an endpoint needs."""
    endpoint = member.endpoint
    address = (endpoint.ipv6 if ":" in published.host_ip else endpoint.ipv4).partition("/")[0]
    if not address or member.attachment.rules is None:
        return ()
    port = PublishedPort(published.host_ip, published.host_port, published.protocol, address, published.port)
    return published_elements(member.attachment.rules, port)


def transition(before: SandboxDesired, after: SandboxDesired) -> Transition:
    """An interface whose description changed leaves and joins again."""
    was, will = set(before.interfaces), set(after.interfaces)
    held, wanted = set(before.elements), set(after.elements)
    joins = tuple(i for i in after.interfaces if i not in was)
    return Transition(
        netns=after.netns or before.netns,
        joins=joins,
        leaves=tuple(i for i in before.interfaces if i not in will),
        defaults=after.defaults if after.netns and after.defaults != before.defaults else None,
        former=before.defaults,
        gains=tuple(e for e in after.elements if e not in held),
        losses=tuple(e for e in before.elements if e not in wanted),
        opened=tuple(place for place in after.datagrams if place not in before.datagrams),
    )
