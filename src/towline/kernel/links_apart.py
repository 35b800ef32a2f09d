"""Links of two namespaces as one: the host's, and the one for overlay networks (`apart`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from towline.kernel.apart import Apart
from towline.kernel.contract import HostRoute, Link
from towline.kernel.rtnl import RtnlLinks
from towline.model.desired import Bridge, Parent, apart, is_apart, kernel_name
from towline.model.errors import KernelError

T = TypeVar("T")
Results = list[KernelError | None]


class SplitLinks:
    """The `Links` contract by the names of links. here, there: clients in the two namespaces."""

    def __init__(self, here: RtnlLinks, there: RtnlLinks, place: Apart) -> None:
        self._here = here
        self._there = there
        self._place = place

    def close(self) -> None:
        self._here.close()
        self._there.close()

    def create_bridges(self, bridges: Sequence[Bridge]) -> Results:
        return self._bridges(bridges, self._here.create_bridges, self._there.create_bridges)

    def repair_bridges(self, bridges: Sequence[Bridge]) -> Results:
        return self._bridges(bridges, self._here.repair_bridges, self._there.repair_bridges)

    def _bridges(
        self,
        bridges: Sequence[Bridge],
        here: Callable[[Sequence[Bridge]], Results],
        there: Callable[[Sequence[Bridge]], Results],
    ) -> Results:
        def used(found: Sequence[Bridge]) -> Results:
            named = [msgspec.structs.replace(bridge, name=kernel_name(bridge.name)) for bridge in found]
            try:
                with self._place.in_use():
                    return there(named)
            except KernelError as error:
                return [error for _ in named]

        elsewhere = [is_apart(bridge.name) for bridge in bridges]
        found = _each(bridges, elsewhere, here, used)
        if any(error is not None and far for error, far in zip(found, elsewhere, strict=True)):
            self._release()  # it may have been pinned for nothing
        return found

    def _release(self) -> None:
        """What is refused is found by the next comparison."""
        with suppress(KernelError):
            self._place.release()

    def ensure_parent(self, parent: Parent) -> KernelError | None:
        return self._here.ensure_parent(parent)

    def silence(self, names: Sequence[str]) -> Results:
        return _each(names, list(map(is_apart, names)), self._here.silence, _named(self._there.silence))

    def disown(self, names: Sequence[str]) -> Results:
        return _each(names, list(map(is_apart, names)), self._here.disown, _named(self._there.disown))

    def remove(self, names: Sequence[str]) -> Results:
        """The namespace is let go with its last link."""
        found = _each(names, list(map(is_apart, names)), self._here.remove, _named(self._there.remove))
        if any(map(is_apart, names)):
            self._release()
        return found

    def held(self) -> bool:
        return self._place.in_order()

    def hold(self) -> None:
        with self._place.in_use():
            pass

    def let_go(self) -> None:
        self._place.release()

    def dump(self) -> list[Link]:
        return [*self._here.dump(), *map(as_apart, self._there.dump())]

    def find(self, name: str) -> Link | None:
        if not is_apart(name):
            return self._here.find(name)
        found = self._there.find(kernel_name(name))
        return None if found is None else as_apart(found)

    def routes(self) -> list[HostRoute]:
        return self._here.routes()


def as_apart(link: Link) -> Link:
    return msgspec.structs.replace(link, name=apart(link.name))


def _named(call: Callable[[Sequence[str]], Results]) -> Callable[[Sequence[str]], Results]:
    return lambda names: call([kernel_name(name) for name in names])


def _each(
    items: Sequence[T],
    elsewhere: Sequence[bool],
    here: Callable[[Sequence[T]], Results],
    there: Callable[[Sequence[T]], Results],
) -> Results:
    """Each item where it belongs; the results in the order of the items."""
    if not any(elsewhere):
        return here(items)
    answers: dict[bool, Iterator[KernelError | None]] = {
        place: iter(
            call(those) if (those := [x for x, far in zip(items, elsewhere, strict=True) if far is place]) else ()
        )
        for place, call in ((True, there), (False, here))
    }
    return [next(answers[place]) for place in elsewhere]
