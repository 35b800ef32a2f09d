"""A table that says which version of its rules it has."""

from __future__ import annotations

import hashlib

import msgspec

from towline.model.ruleset import Rule, Table


def stamped(table: Table) -> Table:
    """The first rule's name ends with a digest of the whole table, so that comparing names is enough to notice that the
    kernel still has the rules of another version."""
    digest = hashlib.sha256(msgspec.json.encode(table)).hexdigest()[:8]
    chains = list(table.chains)
    index = next(i for i, chain in enumerate(chains) if chain.rules)
    first, *rest = chains[index].rules
    named = Rule(f"{first.name} (ruleset {digest})", first.exprs)
    chains[index] = msgspec.structs.replace(chains[index], rules=(named, *rest))
    return msgspec.structs.replace(table, chains=tuple(chains))
