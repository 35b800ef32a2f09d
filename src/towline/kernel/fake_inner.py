"""A stateful fake of `InnerRules`, with named faults."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from towline.kernel.fake_nft import FakeNft
from towline.kernel.fake_sandboxes import FakeNamespace, FakeSandboxes
from towline.kernel.faults import Faults
from towline.model.errors import KernelError
from towline.model.inner import Detour
from towline.model.ruleset import AddTable, NftChange, TableId, TableState


@dataclass
class _Rules:
    """namespace: held, so that no other one is taken for it."""

    namespace: FakeNamespace
    nft: FakeNft
    detour: Detour | None = None


class FakeInnerRules:
    """The rules live and end with the namespaces of a `FakeSandboxes`; a chain at an interface's egress with that.

    Fault steps: by path "read_rules", "commit_rules", "detour", "set_detour"; and those of `FakeNft`. forgotten: (path,
    addresses) in order.
    """

    def __init__(self, sandboxes: FakeSandboxes, *, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.forgotten: list[tuple[str, tuple[str, ...]]] = []
        self._sandboxes = sandboxes
        self._rules: dict[int, _Rules] = {}

    def nft(self, path: str) -> FakeNft:
        """The state of one namespace, to look at and to change."""
        return self._of(path).nft

    def _of(self, path: str) -> _Rules:
        namespace = self._sandboxes.namespaces[path]
        return self._rules.setdefault(id(namespace), _Rules(namespace, FakeNft(faults=self.faults)))

    def read(self, path: str, tables: Sequence[TableId]) -> list[TableState]:
        self._namespace(path)
        self._check("read_rules", path, f"read rules in {path}")
        self._without_devices(path)
        found = [self.nft(path).read(table) for table in tables]
        return [state for state in found if state is not None]

    def commit(self, path: str, changes: Sequence[NftChange]) -> None:
        self._check("commit_rules", path, f"commit rules in {path}")
        names = self._namespace(path).links
        tables = [change.table for change in changes if isinstance(change, AddTable)]
        devices = {chain.hook.device for table in tables for chain in table.chains if chain.hook is not None}
        if devices - {"", *names}:
            raise KernelError(errno.ENOENT, f"commit rules in {path}")
        self.nft(path).commit(changes)

    def detour(self, path: str) -> Detour | None:
        self._check("detour", path, f"read detour in {path}")
        links = self._namespace(path).links
        found = self._of(path).detour
        return found if found is not None and found.interface in links else None

    def set_detour(self, path: str, detour: Detour | None) -> None:
        self._check("set_detour", path, f"set detour in {path}")
        self._namespace(path)
        rules = self._of(path)
        if detour is not None and detour.interface not in rules.namespace.links:
            raise KernelError(errno.ENODEV, f"set detour by {detour.interface}")
        rules.detour = detour

    def forget(self, path: str, addresses: Sequence[str]) -> int:
        self._namespace(path)
        self.forgotten.append((path, tuple(addresses)))
        return 0

    def _without_devices(self, path: str) -> None:
        names = self._namespace(path).links
        for table in self.nft(path).tables.values():
            for chain, hook in list(table.hooks.items()):
                if hook is not None and hook.device and hook.device not in names:
                    del table.hooks[chain], table.rules[chain]

    def _namespace(self, path: str) -> FakeNamespace:
        self._sandboxes.identity(path)  # NamespaceGone; and what is unplugged is gone from it
        return self._sandboxes.namespaces[path]

    def _check(self, verb: str, name: str, operation: str) -> None:
        if refused := self.faults.check(verb, name, operation):
            raise refused
