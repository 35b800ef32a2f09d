"""How a table is replaced inside one transaction without a moment without rules, and without touching the operator's.

The table itself is never deleted: it may hold the operator's chains and sets. Ours are recognised by their comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from towline.kernel import nft_codec as codec
from towline.kernel.nft_codec import OURS, Step
from towline.kernel.nft_decode import ChainInfo, SetInfo
from towline.kernel.nft_types import definition
from towline.model.ruleset import Chain, Table


def add_table(table: Table, chains: Sequence[ChainInfo], sets: Sequence[SetInfo], first_set_id: int) -> Iterator[Step]:
    """The steps that bring a table from what it holds (chains, sets) to `table`, all our sets empty."""
    yield codec.add_table(table.id)
    yield from _clear_chains(table, chains)
    yield from _clear_sets(table, sets)
    for offset, item in enumerate(table.sets):
        yield codec.add_set(table.id, item, first_set_id + offset)
    for chain in table.chains:
        yield codec.add_chain(table.id, chain)
    for chain in table.chains:
        for rule in chain.rules:
            yield codec.add_rule(table.id, chain.name, rule)


def _clear_chains(table: Table, found: Sequence[ChainInfo]) -> Iterator[Step]:
    """Empty all of ours first, so that no rule refers to a chain or set that goes."""
    wanted = {chain.name: chain for chain in table.chains}
    ours = [info for info in found if _chain_is_ours(wanted.get(info.name), info)]
    for info in ours:
        yield codec.flush_chain(table.id, info.name)
    for info in ours:
        if info.name not in wanted or not _can_stay(wanted[info.name], info):
            yield codec.delete_chain(table.id, info.name)


def _clear_sets(table: Table, found: Sequence[SetInfo]) -> Iterator[Step]:
    wanted = {item.name: item for item in table.sets}
    for info in found:
        item, marked = wanted.get(info.name), info.comment.startswith(OURS)
        if item is not None and marked and definition(item) == info.definition:
            yield codec.flush_set(table.id, info.name)
        elif item is not None or marked:
            yield codec.delete_set(table.id, info.name)


def _chain_is_ours(wanted: Chain | None, info: ChainInfo) -> bool:
    return info.comment == OURS if wanted is None else wanted.ours


def _can_stay(chain: Chain, info: ChainInfo) -> bool:
    """The kernel changes an existing chain's policy, but neither its hook nor its comment."""
    if not info.comment.startswith(OURS):
        return False
    if chain.hook is None or info.hook is None:
        return chain.hook is info.hook
    return chain.hook == replace(info.hook, policy=chain.hook.policy)
