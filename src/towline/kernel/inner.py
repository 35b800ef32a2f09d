"""The `InnerRules` contract on the real kernel: one visit to the namespace per call, from the worker thread."""

from __future__ import annotations

from collections.abc import Sequence

from towline.kernel import inner_detour
from towline.kernel.conntrack import CtNetlinkFlows
from towline.kernel.netns import HERE, entered, identity, opened
from towline.kernel.nft import NfNetlinkNft
from towline.model.errors import NotANamespace
from towline.model.inner import Detour
from towline.model.ruleset import NftChange, TableId, TableState


class RealInnerRules:
    """The namespace of the thread that makes it is the host's: no rules of sandboxes are ever written there."""

    def __init__(self) -> None:
        with opened(HERE) as fd:
            self._home = identity(fd)

    def read(self, path: str, tables: Sequence[TableId]) -> list[TableState]:
        with _Visit(path, self._home):
            nft = NfNetlinkNft()
            try:
                present = set(nft.tables())
                found = [nft.read(table) for table in tables if table in present]
            finally:
                nft.close()
        return [state for state in found if state is not None]

    def commit(self, path: str, changes: Sequence[NftChange]) -> None:
        with _Visit(path, self._home):
            nft = NfNetlinkNft()
            try:
                nft.commit(changes)
            finally:
                nft.close()

    def detour(self, path: str) -> Detour | None:
        with _Visit(path, self._home):
            return inner_detour.read()

    def set_detour(self, path: str, detour: Detour | None) -> None:
        with _Visit(path, self._home):
            inner_detour.write(detour)

    def forget(self, path: str, addresses: Sequence[str]) -> int:
        with _Visit(path, self._home):
            flows = CtNetlinkFlows()
            try:
                return flows.forget(addresses)
            finally:
                flows.close()


class _Visit:
    """Inside for the length of a block. NotANamespace for the host's own; else as `netns.inside`."""

    def __init__(self, path: str, home: tuple[int, int]) -> None:
        self._path, self._home = path, home

    def __enter__(self) -> None:
        self._opened = opened(self._path)
        fd = self._opened.__enter__()
        try:
            if identity(fd) == self._home:
                raise NotANamespace(f"{self._path} is the host's own network namespace: a sandbox needs one of its own")
            self._entered = entered(fd, self._path)
            self._entered.__enter__()
        except BaseException:
            self._opened.__exit__(None, None, None)
            raise

    def __exit__(self, *_: object) -> None:
        self._entered.__exit__(None, None, None)
        self._opened.__exit__(None, None, None)
