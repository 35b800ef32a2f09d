"""Store against the inside of a sandbox, as plain values: interfaces, addresses, default routes. Pure functions.

Nobody tells the daemon of changes inside, and what a sandbox's own root does there is its affair. What is compared is
what a crash in the middle of a change leaves undone, when everything is compared.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from towline.control.compare import Difference, Join, Reroute
from towline.kernel.contract import Inside, Link
from towline.model.desired import Interface
from towline.model.info import Finding
from towline.model.sandbox import Sandbox
from towline.plan.sandbox import SandboxDesired

EVERYWHERE4, EVERYWHERE6 = "0.0.0.0/0", "::/0"


def compare_inside(
    sandbox: Sandbox, will: SandboxDesired, inside: Inside, found: Collection[str]
) -> Iterator[Difference]:
    """found: host ends of which a difference is known already; plugging them in again sets the routes too."""
    links = {link.name: link for link in inside.links}
    subject, joined = f"sandbox {sandbox.name}", False
    for interface in will.interfaces:
        if interface.host_name in found:
            joined = True
        elif problem := inner_problem(interface, links.get(interface.name)):
            joined = True
            finding = Finding(subject, f"{interface.name} inside {problem}", "plug it in again")
            yield Difference(finding, Join(will.netns, interface, will.defaults, clear=True))
    if not joined and (wrong := wrong_defaults(will, inside)):
        finding = Finding(subject, f"its {' and '.join(wrong)} default route is not as it should be", "set it")
        yield Difference(finding, Reroute(will.netns, will.defaults))


def inner_problem(interface: Interface, link: Link | None) -> str:
    """ "" if it is as it should be. Addresses that somebody added are left alone."""
    if link is None:
        return "does not exist"
    if link.alias != interface.alias:
        return "does not carry our mark"
    problems = [f"lacks its address {address}" for address in interface.addresses if address not in link.addresses]
    problems += [] if link.up else ["is down"]
    return " and ".join(problems)


def wrong_defaults(will: SandboxDesired, inside: Inside) -> list[str]:
    """Families whose default routes on interfaces of ours are not exactly the wanted one."""
    ours = {interface.name for interface in will.interfaces}
    found = []
    for family, destination, wanted in (
        ("IPv4", EVERYWHERE4, will.defaults.ipv4),
        ("IPv6", EVERYWHERE6, will.defaults.ipv6),
    ):
        held = {(name, gateway) for to, gateway, name in inside.routes if to == destination and name in ours}
        if held != ({wanted} if wanted else set()):
            found.append(family)
    return found
