"""An endpoint's way to services, and back through the routing mesh, in words. Writer thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

from towline.control.inner_keeper import InnerKeeper
from towline.drivers.registry import Drivers
from towline.firewall.balance import Backend
from towline.kernel.contract import InnerRules
from towline.model.endpoint import Endpoint
from towline.model.errors import TowlineError
from towline.model.info import PathStep
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.service import Service
from towline.model.view import View
from towline.plan.inner import Balance

_SHOWN = 8
"""Members that are named; of others there is the number."""


class ServiceExplainer:
    """down: ids of nodes whose lease has ended."""

    def __init__(self, view: View, rules: InnerRules, drivers: Drivers, down: Callable[[], Collection[str]]) -> None:
        self._view = view
        self._keeper = InnerKeeper(rules)
        self._drivers = drivers
        self._down = down

    def steps(self, sandbox: Sandbox, endpoint: Endpoint, network: Network) -> Iterator[PathStep]:
        """None where the network has no services."""
        services = self._view.services_on(network.id)
        if not services or not endpoint.ifname:
            return
        balance = Balance(self._view, self._drivers, self._down())
        problem = self._problem(sandbox, balance)
        if network.ingress:
            yield PathStep("routing mesh", "answers leave by the node that the request came to", problem)
            return
        for service in services:
            yield PathStep("service", _way(service, network, balance.members(service, network.id)), problem)

    def _problem(self, sandbox: Sandbox, balance: Balance) -> str:
        try:
            return "; ".join(d.finding.problem for d in self._keeper.compare(sandbox, balance.inner(sandbox)))
        except TowlineError as error:
            return str(error)


def _way(service: Service, network: Network, members: Sequence[Backend]) -> str:
    vip = service.vip_on(network.id)
    if vip is None or service.mode != "vip":
        return f"{service.name} is the name of its {len(members)} running members' addresses"
    virtual = " and ".join(cidr.partition("/")[0] for cidr in (vip.ipv4, vip.ipv6) if cidr)
    if not members:
        return f"{service.name} at {virtual}: no member runs, so connections are refused"
    more = f" and {len(members) - _SHOWN} more" if len(members) > _SHOWN else ""
    return f"{service.name} at {virtual} leads to {', '.join(m.ipv4 or m.ipv6 for m in members[:_SHOWN])}{more}"
