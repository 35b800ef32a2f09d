"""What a sandbox has by being a member of a service."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from towline.model.endpoint import Published
from towline.model.network import Network
from towline.model.sandbox import PortBinding, Sandbox
from towline.model.view import View

_WITHOUT_OTHERS = ("host", "null")


def ingress_of(view: View, sandbox: Sandbox) -> Network | None:
    """The ingress network, if a sandbox that runs has to be on it: its service has ports that every node publishes."""
    service = view.service(sandbox.service) if sandbox.service and sandbox.state == "running" else None
    network = view.network(service.ingress) if service is not None and service.ingress else None
    if network is None or not network.ingress:
        return None
    joined = (view.network(endpoint.network) for endpoint in view.endpoints_in(sandbox.id))
    return None if any(n is not None and n.driver in _WITHOUT_OTHERS for n in joined) else network


def ports_of(view: View, sandbox: Sandbox) -> tuple[PortBinding, ...]:
    """What it publishes on its own node: what was asked for it, and its service's ports of mode host."""
    service = view.service(sandbox.service) if sandbox.service else None
    if service is None:
        return sandbox.ports
    hosts = (port for port in service.ports if port.mode == "host")
    return tuple(
        dict.fromkeys((*sandbox.ports, *(PortBinding(p.target, p.protocol, host_port=p.published) for p in hosts)))
    )


def are_published(bindings: Iterable[PortBinding], published: Collection[Published]) -> bool:
    """Is each of these there, and nothing else?"""
    wanted = tuple(bindings)
    return all(any(_fits(b, p) for p in published) for b in wanted) and all(
        any(_fits(b, p) for b in wanted) for p in published
    )


def _fits(binding: PortBinding, published: Published) -> bool:
    numbers = range(binding.host_port, max(binding.host_port, binding.host_port_end) + 1)
    same = (binding.port, binding.protocol) == (published.port, published.protocol)
    return same and (not binding.host_port or published.host_port in numbers)
