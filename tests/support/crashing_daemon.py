"""`towlined` whose seams count their steps, kill the process at one of them, or refuse one. Run it with `python -m` and
towlined's arguments; what to do comes in TOWLINE_TEST_STEPS, as JSON of `Orders`.

A step is one commit of the store, one verb of the links, of the sandboxes or of the runtime, one nftables transaction,
or one sysctl write (those inside a verb too). It is counted once before and once after it is done, so that a kill falls
right before or right after.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import msgspec

from towline.daemon.main import run
from towline.kernel.contract import Kernel, Links
from towline.kernel.sysctl import ProcSysctl
from towline.model.config import Config
from towline.model.errors import KernelError
from towline.wire import Parts, Service, build, real_parts

VARIABLE = "TOWLINE_TEST_STEPS"
CHANGING = frozenset(
    {"update", "create_bridges", "ensure_parent", "repair_bridges", "silence", "remove", "commit", "write"}
)
JOINING = frozenset({"make", "drop", "join", "leave", "remove", "set_defaults", "announce"})
FLOWS = frozenset({"forget", "forget_untranslated"})
INNER = frozenset({"commit", "set_detour", "forget"})
TUNNELS = frozenset({"create", "repair", "silence"})
ITEM_WISE = {
    "create_bridges": 0,
    "repair_bridges": 0,
    "create": 0,
    "repair": 0,
    "silence": 0,
    "remove": 0,
    "leave": 1,
}
"""Verbs that answer a refusal per item, and which argument holds the items; the others raise."""


class Refusal(msgspec.Struct):
    """Refuse the nth call of a verb (from 1) with an errno; forever=True: that one and all after it."""

    verb: str
    errno: int
    nth: int = 1
    forever: bool = False


class Orders(msgspec.Struct):
    """kill_at: SIGKILL when that many half-steps were counted. during_start: count from the beginning, not from
    readiness. trace: a file to which each half-step is written, one line."""

    kill_at: int = 0
    during_start: bool = False
    refusals: list[Refusal] = []
    trace: str = ""


class Steps:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._calls: dict[str, int] = {}
        self.count = 0
        self.armed = orders.during_start

    def half(self, label: str) -> None:
        if not self.armed:
            return
        self.count += 1
        if self._orders.trace:
            with open(self._orders.trace, "a", encoding="utf-8") as trace:
                trace.write(f"{label}\n")
        if self.count == self._orders.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def refusal(self, verb: str) -> KernelError | None:
        if not self.armed:
            return None
        nth = self._calls[verb] = self._calls.get(verb, 0) + 1
        for order in self._orders.refusals:
            if order.verb == verb and (nth == order.nth or (order.forever and nth > order.nth)):
                return KernelError(order.errno, f"{verb} (injected)")
        return None


class Counted:
    """Any seam, with its changing verbs counted. A refused verb is not carried out."""

    def __init__(self, inner: Any, steps: Steps, verbs: frozenset[str] = CHANGING) -> None:
        self._inner = inner
        self._steps = steps
        self._verbs = verbs

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._counted(name, found) if name in self._verbs else found

    def _counted(self, verb: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self._steps.half(f"before {verb}")
            if (error := self._steps.refusal(verb)) is not None:
                return self._refuse(verb, error, args)
            result = call(*args, **kwargs)
            self._steps.half(f"after {verb}")
            return result

        return counted

    def _refuse(self, verb: str, error: KernelError, args: tuple[Any, ...]) -> list[KernelError]:
        if verb not in ITEM_WISE:
            raise error
        return [error for _ in args[ITEM_WISE[verb]]]


class CountedRuntime:
    """The processes of sandboxes: a step is a process made inside, its command begun, its files removed."""

    def __init__(self, inner: Any, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def prepare(self, launch: Any) -> Any:
        self._steps.half("before prepare")
        prepared = await self._inner.prepare(launch)
        self._steps.half("after prepare")
        return CountedPending(prepared, self._steps)

    def forget(self, sandbox: str) -> None:
        self._steps.half("before forgetting files")
        self._inner.forget(sandbox)
        self._steps.half("after forgetting files")


class CountedPending:
    def __init__(self, inner: Any, steps: Steps) -> None:
        self._inner = inner
        self._steps = steps
        self.process = inner.process
        self.abandon = inner.abandon

    async def go(self) -> Any:
        self._steps.half("before go")
        watch = await self._inner.go()
        self._steps.half("after go")
        return watch


class CountedKernel:
    def __init__(self, kernel: Kernel, steps: Steps) -> None:
        self.links: Links = Counted(kernel.links, steps)  # type: ignore[assignment]
        self.tunnels = Counted(Counted(kernel.tunnels, steps, TUNNELS), steps, frozenset({"set_rows"}))
        self.nft = Counted(kernel.nft, steps)
        self.sysctl = kernel.sysctl
        self.sandboxes = Counted(kernel.sandboxes, steps, JOINING)
        self.inner = Counted(kernel.inner, steps, INNER)
        self.flows = Counted(kernel.flows, steps, FLOWS)
        self.close = kernel.close


class ArmedService:
    """Begins to count when the service is ready."""

    def __init__(self, service: Service, steps: Steps) -> None:
        self._service = service
        self._steps = steps
        self.engine = service.engine
        self.stop = service.stop
        self.reconfigure = service.reconfigure

    async def start(self) -> None:
        await self._service.start()
        self._steps.armed = True


def counted_build(config: Config) -> Any:
    return build_counted(config, Steps(msgspec.json.decode(os.environ[VARIABLE], type=Orders)))


def build_counted(config: Config, steps: Steps) -> Any:
    """The service over real parts that `steps` counts and refuses."""
    with patch("towline.kernel.real.ProcSysctl", lambda: Counted(ProcSysctl(), steps)):
        parts: Parts = real_parts(config)
    counted = replace(
        parts,
        store=Counted(parts.store, steps),
        kernel=CountedKernel(parts.kernel, steps),
        reaper_links=Counted(parts.reaper_links, steps),
        runtime=CountedRuntime(parts.runtime, steps),
    )
    return ArmedService(build(config, counted), steps)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], build=counted_build))
