"""The static part of the firewall: the same for every daemon of one version, whatever networks exist."""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from towline.firewall import bridge, forward, nat
from towline.firewall.names import BRIDGE, BRIDGE_SETS, INET, INET_SETS, family_sets
from towline.model.ruleset import Chain, Rule, Table


@lru_cache(maxsize=1)
def base() -> tuple[Table, ...]:
    """Tables `inet towline` and `bridge towline`, without elements.

    The first rule's name ends with a digest of the whole table, so that comparing names is enough to notice that the
    kernel still has the rules of another version.
    """
    user = Chain("user", ours=False)
    inet = Table(INET, (*INET_SETS, *family_sets()), (user, *forward.chains(), *nat.chains()))
    return (_stamp(inet), _stamp(Table(BRIDGE, BRIDGE_SETS, bridge.chains())))


def _stamp(table: Table) -> Table:
    digest = hashlib.sha256(msgspec.json.encode(table)).hexdigest()[:8]
    chains = list(table.chains)
    index = next(i for i, chain in enumerate(chains) if chain.rules)
    first, *rest = chains[index].rules
    stamped = Rule(f"{first.name} (ruleset {digest})", first.exprs)
    chains[index] = msgspec.structs.replace(chains[index], rules=(stamped, *rest))
    return msgspec.structs.replace(table, chains=tuple(chains))
