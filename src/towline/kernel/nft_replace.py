"""How a table is replaced inside one transaction without a moment without rules, and without touching the operator's.

The table itself is never deleted: it may hold the operator's chains and sets. Ours are recognised by their comment.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from towline.kernel import nft_codec as codec
from towline.kernel.nft_codec import OURS, Step
from towline.kernel.nft_decode import ChainInfo, SetInfo
from towline.kernel.nft_types import layout
from towline.model.ruleset import Chain, Set, Table

_MAP = 0x8


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
        if info.name not in wanted or not _same_hook(wanted[info.name], info):
            yield codec.delete_chain(table.id, info.name)


def _clear_sets(table: Table, found: Sequence[SetInfo]) -> Iterator[Step]:
    wanted = {item.name: item for item in table.sets}
    for info in found:
        item = wanted.get(info.name)
        if item is not None and _same_definition(item, info):
            yield codec.flush_set(table.id, info.name)
        elif item is not None or info.comment.startswith(OURS):
            yield codec.delete_set(table.id, info.name)


def _chain_is_ours(wanted: Chain | None, info: ChainInfo) -> bool:
    return info.comment == OURS if wanted is None else wanted.ours


def _same_hook(chain: Chain, info: ChainInfo) -> bool:
    if chain.hook is None:
        return not info.type
    return (chain.hook.type, chain.hook.hook, chain.hook.priority) == (info.type, info.hook, info.priority)


def _same_definition(item: Set, info: SetInfo) -> bool:
    key = layout(item.key_types)
    if (info.flags, info.key_type, info.key_length) != (_MAP if item.data_types else 0, key.number, key.length):
        return False
    if not item.data_types:
        return True
    data = layout(item.data_types)
    return (info.data_type, info.data_length) == (data.number, data.length)
