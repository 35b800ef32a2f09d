"""Faults that tests order from the fakes by name."""

from __future__ import annotations

from dataclasses import dataclass

from towline.model.errors import KernelError


@dataclass
class _Order:
    verb: str
    errno: int
    nth: int
    name: str | None


class Faults:
    """Orders are used up: each makes one step fail once."""

    def __init__(self) -> None:
        self._orders: list[_Order] = []

    def fail(self, verb: str, errno: int, *, nth: int = 1, name: str | None = None) -> None:
        """Let the nth step from now that is called `verb` (and is about `name`) be refused with this errno."""
        self._orders.append(_Order(verb, errno, nth, name))

    def check(self, verb: str, name: str, operation: str) -> KernelError | None:
        """A fake asks before each step; None: go on. A refused step changes nothing."""
        for order in self._orders:
            if order.verb == verb and order.name in (None, name):
                order.nth -= 1
                if order.nth == 0:
                    self._orders.remove(order)
                    return KernelError(order.errno, operation)
        return None
