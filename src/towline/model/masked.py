"""Records that hold secrets: shown, in a log or a traceback, they do not tell them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import msgspec


class Masked(msgspec.Struct, frozen=True):
    """secret: names of the fields whose values are never shown."""

    secret: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        return masked(self, self.__struct_fields__, self.secret)


def masked(record: object, fields: Iterable[str], secret: Iterable[str]) -> str:
    """As repr, with stars for what is secret and not empty."""
    hidden = set(secret)
    shown = (
        f"{name}={'***' if name in hidden and getattr(record, name) else repr(getattr(record, name))}"
        for name in fields
    )
    return f"{type(record).__name__}({', '.join(shown)})"
