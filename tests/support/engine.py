"""A whole engine over fakes: no root, no kernel, no disk."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from tests.support.fake_ports import FakeSockets
from tests.support.fake_runtime import FakeNameServers, FakeRuntime
from tests.support.faulty_store import FaultyStore
from towline.control.controller import Controller
from towline.kernel.fake import FakeLinks, FakeMonitor, FakeSysctl
from towline.kernel.fake_inner import FakeInnerRules
from towline.kernel.fake_nft import FakeNft
from towline.kernel.fake_sandboxes import FakeFlows, FakeSandboxes
from towline.kernel.fake_tunnels import FakeTunnels
from towline.model.config import AddressPool, Config
from towline.model.network import Network
from towline.store.contract import Store
from towline.store.memory import MemoryStore
from towline.wire import Parts, build

CONFIG = Config(default_address_pools=(AddressPool("10.0.0.0/8", 24),))


class World:
    """What outlives an engine: its store and the kernel."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = FaultyStore(store or MemoryStore())
        self.sysctl = FakeSysctl()
        self.links = FakeLinks(self.sysctl)
        self.nft = FakeNft()
        self.sandboxes = FakeSandboxes(self.links)
        self.tunnels = FakeTunnels(self.links)
        self.inner = FakeInnerRules(self.sandboxes)
        self.flows = FakeFlows()
        self.ports = FakeSockets()
        self.dns = FakeNameServers()
        self.runtime = FakeRuntime()
        self._temporary = tempfile.TemporaryDirectory(prefix="towline-world-")
        self.roots = Path(self._temporary.name)
        self.monitor = FakeMonitor()

    def close(self) -> None:
        """Kernel sockets of a real world."""

    def parts(self) -> Parts:
        self.monitor = FakeMonitor()
        return Parts(self.store, self, self.links, self.monitor, self.ports, self.dns, self.runtime, self.close)

    def bridges(self) -> set[str]:
        """Members of the firewall's set of all bridges."""
        table = next(t for t in self.nft.tables if t.family == "inet")
        return {key.rstrip(b"\0").decode() for key in self.nft.tables[table].elements["bridges"]}

    def ours(self) -> set[str]:
        return {link.name for link in self.links.links.values() if link.alias.startswith("towline:")}

    def stored(self) -> dict[str, Network]:
        return {network.name: network for network in self.store.view().networks()}


@asynccontextmanager
async def running(
    world: World, config: Config = CONFIG, *, before: Callable[[Controller], None] | None = None
) -> AsyncIterator[Controller]:
    """An engine on the world. It is stopped in the end; its store stays open, as a killed daemon's file would."""
    world.store.close = lambda: None  # type: ignore[method-assign]
    roots = {"exec_root": str(world.roots / "run"), "data_root": str(world.roots / "data")}
    service = build(replace(config, **roots), world.parts())
    if before is not None:
        before(service.engine)
    await service.start()
    try:
        yield service.engine
    finally:
        await service.stop()
