"""Finding sandboxes, one change at a time per sandbox, and telling the others about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from towline.control.collaborators import NameService
from towline.model.errors import NotFound
from towline.model.events import Event
from towline.model.info import Counters
from towline.model.network import Network
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.sandbox import Transition
from towline.policy.sandbox import find_sandbox


class SandboxAccess:
    """Shared by all that changes sandboxes. Event loop only. changed: told the id of a network, after the commit of a
    change to one of its endpoints here."""

    def __init__(
        self,
        view: View,
        publish: Callable[[Event], None],
        names: NameService,
        counters: Counters,
        changed: Callable[[str], None],
    ) -> None:
        self.view = view
        self._changed = changed
        self._publish = publish
        self._names = names
        self._counters = counters
        self._locks: dict[str, asyncio.Lock] = {}

    def known(self, sandbox_id: str) -> Sandbox:
        if (sandbox := self.view.sandbox(sandbox_id)) is None:
            raise NotFound(f"No such container: {sandbox_id}")
        return sandbox

    def lock(self, sandbox_id: str) -> asyncio.Lock:
        return self._locks.setdefault(sandbox_id, asyncio.Lock())

    def forget(self, sandbox_id: str) -> None:
        self._locks.pop(sandbox_id, None)

    @asynccontextmanager
    async def locked(self, term: str) -> AsyncIterator[Sandbox]:
        """The sandbox a client means, as it is once nobody else works on it."""
        found = find_sandbox(self.view, term)
        async with self.lock(found.id):
            yield self.known(found.id)

    def announce(self, action: str, sandbox: Sandbox, network: Network) -> None:
        """What happens on this host has the scope "local", also on networks of a cluster."""
        attributes = {"container": sandbox.id, "name": network.name, "type": network.driver}
        self._publish(Event("network", action, network.id, attributes, "local", time.time_ns()))

    def announce_all(self, action: str, sandbox: Sandbox) -> None:
        for network in self.networks_of(sandbox.id):
            self.announce(action, sandbox, network)

    def count(self, transitions: Iterable[Transition]) -> None:
        for transition in transitions:
            self._counters.joins += len(transition.joins)
            self._counters.leaves += len(transition.leaves)

    def networks_of(self, sandbox_id: str) -> list[Network]:
        """Those that it was connected to."""
        joined = (endpoint for endpoint in self.view.endpoints_in(sandbox_id) if not endpoint.way_out)
        found = (self.view.network(endpoint.network) for endpoint in joined)
        return [network for network in found if network is not None]

    def names_changed(self, sandbox_id: str) -> None:
        for endpoint in self.view.endpoints_in(sandbox_id):
            self.network_changed(endpoint.network)

    def network_changed(self, network_id: str) -> None:
        """One of its endpoints here came, changed or went."""
        self._names.changed(network_id)
        self._changed(network_id)
