"""What a sandbox's namespace must hold besides its interfaces and default routes: rules of ours, and a detour."""

from __future__ import annotations

import msgspec

from towline.model.ruleset import Element, Table


class Detour(msgspec.Struct, frozen=True):
    """Packets with the mark (under the mask) leave by this interface, whatever the main routing table says, to a MAC
    that nobody has: a rule at the interface's egress writes the true one. ipv6: of that family too."""

    interface: str
    mark: int
    mask: int
    ipv6: bool = False


class Inner(msgspec.Struct, frozen=True):
    """tables: without elements. Equal ones need nothing done."""

    tables: tuple[Table, ...] = ()
    elements: tuple[Element, ...] = ()
    detour: Detour | None = None


NOTHING = Inner()
