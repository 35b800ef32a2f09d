"""The static part of the firewall: the same for every daemon of one version, whatever networks exist."""

from __future__ import annotations

from functools import lru_cache

from towline.firewall import bridge, forward, nat
from towline.firewall.names import BRIDGE, BRIDGE_SETS, INET, INET_SETS, OVERLAY, OVERLAY_SETS, family_sets
from towline.firewall.stamp import stamped
from towline.model.ruleset import Chain, Table


@lru_cache(maxsize=1)
def base() -> tuple[Table, ...]:
    """Tables `inet towline`, `bridge towline` and `bridge towline-overlay`, without elements.

    Each says which version of its rules it has: see `stamped`.
    """
    user = Chain("user", ours=False)
    inet = Table(INET, (*INET_SETS, *family_sets()), (user, *forward.chains(), *nat.chains()))
    overlay = Table(OVERLAY, OVERLAY_SETS, bridge.overlay_chains())
    return (stamped(inet), stamped(Table(BRIDGE, BRIDGE_SETS, bridge.chains())), stamped(overlay))
