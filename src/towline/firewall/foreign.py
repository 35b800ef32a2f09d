"""Other software at the same hook: where a foreign forward chain may drop what our rules admitted, one rule of ours
lets it pass by its mark. Everything else in foreign chains is respected and left alone.

A chain that has our rule, wherever it stands, is left as it is. Whoever inserts above it later means it: Docker puts
its jumps first when it restarts (they concern its own bridges), an operator a block of his own. Insisting on the first
place would override him, and two programs that both insist would never come to rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from towline.firewall.builders import ACCEPT, MARK, host32, load
from towline.firewall.names import ADMITTED
from towline.model.ruleset import (
    Bitwise,
    Cmp,
    Counter,
    DeleteForeign,
    Expr,
    ForeignChain,
    InsertForeign,
    Match,
    Rule,
    TableId,
)

RULE_NAME = "towline: admitted by table inet towline"

_IPTABLES = frozenset({(TableId("ip", "filter"), "FORWARD"), (TableId("ip6", "filter"), "FORWARD")})
_FIREWALLD = frozenset({(TableId("inet", "firewalld"), "filter_FORWARD")})
FOREIGN_CHAINS = _IPTABLES | _FIREWALLD
"""Where our rule may be needed."""


def admit_rule(table: TableId) -> Rule:
    """Accept what carries our mark. In iptables' tables as its own `mark` match (revision 1, struct xt_mark_mtinfo1),
    which every iptables-nft can list and handle; elsewhere native."""
    if table.family == "inet":
        match: tuple[Expr, ...] = (*load(MARK), Bitwise(host32(ADMITTED), bytes(4)), Cmp(0, host32(ADMITTED)))
    else:
        match = (Match("mark", 1, host32(ADMITTED) * 2 + bytes(4)),)
    return Rule(RULE_NAME, (*match, Counter(), ACCEPT))


def admit_changes(chains: Iterable[ForeignChain]) -> tuple[InsertForeign | DeleteForeign, ...]:
    """What must change so that each foreign chain that filters has our rule exactly once; () if nothing."""
    changes: list[InsertForeign | DeleteForeign] = []
    for chain in chains:
        ours = [handle for handle, name in chain.rules if name == RULE_NAME]
        if not ours and _may_drop(chain):
            changes.append(InsertForeign(chain.table, chain.chain, admit_rule(chain.table)))
        changes += [DeleteForeign(chain.table, chain.chain, handle) for handle in ours[1:]]
    return tuple(changes)


def withdraw_changes(chains: Iterable[ForeignChain]) -> tuple[DeleteForeign, ...]:
    """Take every rule of ours out of foreign chains again."""
    return tuple(
        DeleteForeign(chain.table, chain.chain, handle)
        for chain in chains
        for handle, name in chain.rules
        if name == RULE_NAME
    )


def _may_drop(chain: ForeignChain) -> bool:
    known = (chain.table, chain.chain) in FOREIGN_CHAINS
    return known and (chain.policy == "drop" or bool(chain.rules))
