"""Where this node sends and takes encapsulated packets, and from whom. The cluster says so; the store keeps it, so that
a daemon that starts while its node is cut off finds its tunnels as they should be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from ipaddress import ip_address

import msgspec

from towline.control.writer import Writer
from towline.drivers.overlay import UnderlayHolder
from towline.firewall import data_path_elements, secure_elements, secure_link_elements, vtep_elements
from towline.firewall.names import INET
from towline.kernel.contract import AddElements, DeleteElements, Kernel, NftChange
from towline.model.cluster import Underlay
from towline.model.errors import KernelError
from towline.model.ruleset import Element
from towline.model.secure import secure_port
from towline.store.contract import SetMeta, Store

log = logging.getLogger(__name__)

META_DATA_PATH = "data-path"


class _Known(msgspec.Struct, frozen=True):
    """vteps: bare addresses of all nodes' data paths, sorted."""

    underlay: Underlay | None = None
    vteps: tuple[str, ...] = ()


class DataPath:
    """place: the overlay driver's. need_repair: see `Applier`; may be called from the writer thread. secure_links:
    names of the WireGuard interfaces that this node has, or is about to have."""

    def __init__(self, store: Store, writer: Writer, kernel: Kernel, need_repair: Callable[[], None]) -> None:
        self._store = store
        self._writer = writer
        self._kernel = kernel
        self._need_repair = need_repair
        self._known = _read(store.meta(META_DATA_PATH))
        self.place = UnderlayHolder(self._known.underlay)
        self.secure_links: Callable[[], Collection[str]] = tuple
        self._links: tuple[Element, ...] | None = None

    def elements(self) -> tuple[Element, ...]:
        """What the firewall's sets must hold of it: nothing while the node is in no cluster."""
        return _elements(self._known) + secure_link_elements(sorted(self.secure_links()))

    async def set_secure_links(self, names: Collection[str]) -> None:
        """The WireGuard interfaces of this node. KernelError."""
        wanted = secure_link_elements(sorted(names))
        if wanted != self._links:
            await self._writer.exclusive(lambda: self._replace_links(wanted))

    def _replace_links(self, wanted: tuple[Element, ...]) -> None:
        """Writer thread. What the set holds is asked: another run of this daemon may have filled it."""
        table = self._kernel.nft.read(INET)
        held = table.sets.get("secure_links", {}) if table is not None else {}
        keys = {element.key for element in wanted}
        gone = tuple(Element(INET, "secure_links", key) for key in held if key not in keys)
        made = tuple(element for element in wanted if element.key not in held)
        changes: list[NftChange] = [DeleteElements(gone)] if gone else []
        changes += [AddElements(made)] if made else []
        if changes:
            self._kernel.nft.commit(changes)
        self._links = wanted

    async def set(self, underlay: Underlay | None, vteps: Collection[str]) -> None:
        """underlay None: the node is in no cluster. vteps: of all nodes, bare; what is no address is passed over."""
        known = _Known(underlay, tuple(sorted({text for text in vteps if _is_address(text)})))
        if known != self._known:
            await self._writer.exclusive(lambda: self._write(known))

    def _write(self, known: _Known) -> None:
        """Writer thread, no batch in flight: nothing is planned meanwhile. What the kernel refuses is left to
        reconcile."""
        text = msgspec.json.encode(known).decode()
        self._store.update([SetMeta(META_DATA_PATH, text if known.underlay is not None else None)])
        before, self._known = self._known, known
        had, has = _elements(before), _elements(known)
        gone, made = tuple(e for e in had if e not in has), tuple(e for e in has if e not in had)
        changes: list[NftChange] = [DeleteElements(gone)] if gone else []
        changes += [AddElements(made)] if made else []
        try:
            if changes:
                self._kernel.nft.commit(changes)
        except KernelError as error:
            log.error("the data path's rules could not be set", extra={"fields": {"error": str(error)}})
            self._need_repair()
        if known.underlay != before.underlay:
            self.place.underlay = known.underlay
            self._need_repair()


def _read(text: str | None) -> _Known:
    """What cannot be read (another release's) is not known: the cluster says it again."""
    try:
        return msgspec.json.decode(text, type=_Known) if text else _Known()
    except msgspec.MsgspecError as error:
        log.error("the stored data path cannot be read", extra={"fields": {"error": str(error)}})
        return _Known()


def _elements(known: _Known) -> tuple[Element, ...]:
    if known.underlay is None:
        return ()
    vteps = tuple(dict.fromkeys((known.underlay.local, *known.vteps)))
    port = known.underlay.port
    return data_path_elements(port) + secure_elements(secure_port(port)) + vtep_elements(vteps)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
