"""Keeps the rules for services in the sandboxes of this node (`plan.inner`) as the store has it.

Events say on which networks something changed; a moment later the sandboxes there are looked at, some at a time, in the
writer thread. A sandbox on networks without services costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import NamedTuple

from towline.control.compare_inner import changes_between, lost_members, targets
from towline.control.inner_keeper import InnerKeeper
from towline.control.writer import Writer
from towline.drivers.registry import Drivers
from towline.kernel.contract import InnerRules
from towline.model.errors import KernelError, NamespaceGone, NotANamespace, TowlineError, Unavailable
from towline.model.inner import NOTHING, Inner
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.plan.inner import Balance

log = logging.getLogger(__name__)

GATHER = 0.01
"""Seconds from the first event until the sandboxes are looked at."""
CHUNK = 32
"""Sandboxes that are looked at before others get the writer."""


class _Applied(NamedTuple):
    """started, ends: of which life of the sandbox, and with which interfaces; with others nothing is known. networks:
    ids of those that it was on."""

    started: int
    ends: tuple[tuple[str, str], ...]
    networks: frozenset[str]
    inner: Inner


class Balancer:
    """Calls on the event loop. down: ids of nodes whose lease has ended. need_repair: see `Applier`."""

    def __init__(
        self,
        view: View,
        writer: Writer,
        rules: InnerRules,
        drivers: Drivers,
        *,
        down: Callable[[], Collection[str]],
        need_repair: Callable[[], None],
    ) -> None:
        self._view = view
        self._writer = writer
        self._rules = rules
        self._keeper = InnerKeeper(rules)
        self._drivers = drivers
        self._down = down
        self._need_repair = need_repair
        self._applied: dict[str, _Applied] = {}
        self._leaving: set[str] = set()
        self._dirty: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._sweeps = ThreadPoolExecutor(1, thread_name_prefix="service-flows")

    def balance(self) -> Balance:
        """As everything is now."""
        return Balance(self._view, self._drivers, self._down())

    def changed(self, networks: Iterable[str]) -> None:
        """Endpoints or peers on these networks came, changed or went, or services that are on them."""
        self._dirty.update(networks)
        if self._dirty and self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._settle_dirty(), name="balancer")

    async def settle(self, sandbox_id: str) -> None:
        """Before its command begins. What the kernel refuses is left to reconcile."""
        if self._is_concerned(sandbox_id):
            await self._bring([sandbox_id])

    async def leave(self, sandbox: Sandbox) -> None:
        """Before it leaves: a namespace that goes on without us keeps nothing of ours."""
        if sandbox.origin != "attach" or not self._is_concerned(sandbox.id):
            return
        self._leaving.add(sandbox.id)  # it still runs, by its record: who comes to look at it must not begin again
        try:
            await self._writer.exclusive(lambda: self._keeper.ensure(sandbox.netns, NOTHING))
        except TowlineError as error:
            _warn(sandbox.id, error)

    async def close(self) -> None:
        """Finishes what it is at. Rules and traffic stay as they are."""
        self._closed = True
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._sweeps.shutdown)

    async def _settle_dirty(self) -> None:
        try:
            await asyncio.sleep(GATHER)
            while self._dirty and not self._closed:
                networks, self._dirty = self._dirty, set()
                self._forget_removed()
                concerned = [sandbox_id for sandbox_id in self._on(networks) if self._is_concerned(sandbox_id)]
                for start in range(0, len(concerned), CHUNK):
                    await self._bring(concerned[start : start + CHUNK])
        except Unavailable as error:  # the daemon is shutting down
            log.info("services are not looked after any more", extra={"fields": {"why": str(error)}})
        except Exception:
            log.exception("rules for services could not be looked at")
            self._need_repair()
        finally:
            self._task = None

    def _forget_removed(self) -> None:
        for sandbox_id in [key for key in (*list(self._applied), *self._leaving) if not self._view.sandbox(key)]:
            self._applied.pop(sandbox_id, None)
            self._leaving.discard(sandbox_id)

    def _on(self, networks: set[str]) -> dict[str, None]:
        """Sandboxes that are on one of these networks, or were when they were looked at last."""
        known = list(self._applied.items())  # the writer thread adds to it
        now = (e.sandbox for n in networks for e in self._view.endpoints_of(n) if e.ifname)
        before = (key for key, last in known if last.inner != NOTHING and last.networks & networks)
        return dict.fromkeys((*now, *before))

    def _is_concerned(self, sandbox_id: str) -> bool:
        known = self._applied.get(sandbox_id)
        if known is not None and known.inner != NOTHING:
            return True
        networks = (self._view.network(e.network) for e in self._view.endpoints_in(sandbox_id))
        return any(n is not None and (n.ingress or self._view.services_on(n.id)) for n in networks)

    async def _bring(self, sandboxes: Sequence[str]) -> None:
        lost = await self._writer.exclusive(lambda: self._bring_each(sandboxes))
        for sandbox, gone in lost:
            if not self._closed:
                self._sweeps.submit(self._forget, sandbox, gone)

    def _bring_each(self, sandboxes: Sequence[str]) -> list[tuple[Sandbox, set[bytes]]]:
        """Writer thread. Answers sandboxes with the addresses of members that are none any more there."""
        balance = self.balance()
        lost: list[tuple[Sandbox, set[bytes]]] = []
        for sandbox_id in sandboxes:
            sandbox = self._view.sandbox(sandbox_id)
            stays = sandbox_id not in self._leaving
            if sandbox is not None and stays and sandbox.state == "running" and sandbox.netns:
                try:
                    gone = self._bring_one(sandbox, balance.inner(sandbox))
                except (NamespaceGone, NotANamespace):
                    self._applied.pop(sandbox_id, None)
                except TowlineError as error:
                    self._applied.pop(sandbox_id, None)
                    _warn(sandbox_id, error)
                    self._need_repair()
                else:
                    lost += [(sandbox, gone)] if gone else []
        return lost

    def _bring_one(self, sandbox: Sandbox, inner: Inner) -> set[bytes]:
        known, now = self._applied.get(sandbox.id), self._as_it_is(sandbox, inner)
        if known is None or (known.started, known.ends) != (now.started, now.ends):
            self._keeper.ensure(sandbox.netns, inner)
            gone: set[bytes] = set()
        else:
            self._change(sandbox.netns, known.inner, inner)
            gone = lost_members(known.inner, inner)
        self._applied[sandbox.id] = now
        return gone

    def _as_it_is(self, sandbox: Sandbox, inner: Inner) -> _Applied:
        endpoints = self._view.endpoints_in(sandbox.id)
        ends, networks = tuple((e.id, e.ifname) for e in endpoints), frozenset(e.network for e in endpoints)
        return _Applied(sandbox.started, ends, networks, inner)

    def repaired(self, sandbox_id: str, inner: Inner) -> None:
        """Writer thread: the comparison of everything has set them so."""
        sandbox, known = self._view.sandbox(sandbox_id), self._applied.get(sandbox_id)
        if sandbox is None:
            return
        self._applied[sandbox_id] = self._as_it_is(sandbox, inner)
        if known is not None and not self._closed and (gone := lost_members(known.inner, inner)):
            self._sweeps.submit(self._forget, sandbox, gone)

    def _change(self, netns: str, before: Inner, after: Inner) -> None:
        """By difference; where the kernel is not as it was left, by looking."""
        if before.detour != after.detour:
            self._keeper.ensure(netns, after)
        elif changes := changes_between(before, after):
            try:
                self._rules.commit(netns, changes)
            except KernelError:
                self._keeper.ensure(netns, after)

    def _forget(self, sandbox: Sandbox, gone: set[bytes]) -> None:
        """UDP flows would go to a member that is gone for as long as packets come. One that is back by now keeps its
        connections: they are those that began since."""
        known = self._applied.get(sandbox.id)
        left = gone - targets(known.inner) if known is not None else gone
        try:
            if left:
                self._rules.forget(sandbox.netns, tuple(str(ip_address(each)) for each in sorted(left)))
        except TowlineError as error:
            fields = {"netns": sandbox.netns, "error": str(error)}
            log.info("connections not forgotten", extra={"fields": fields})


def _warn(sandbox_id: str, error: TowlineError) -> None:
    fields = {"sandbox": sandbox_id, "error": str(error)}
    log.error("rules for services in a sandbox are not up to date", extra={"fields": fields})
