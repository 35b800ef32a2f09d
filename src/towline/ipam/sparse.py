"""A set of small integers out of a range that may be huge (2**64 and more), with the next absent one found fast.

A tree of 256-bit words held in one dictionary per level: a word of the lowest level marks members, a word above marks
which words below it are full. Only words with a bit set exist, so memory follows the members and not the range.
"""

from __future__ import annotations

_SHIFT = 8
_MASK = (1 << _SHIFT) - 1
_FULL = (1 << (1 << _SHIFT)) - 1


class SparseSet:
    """Integers of 0..2**bits - 1. Every operation takes at most bits / 8 steps, nearly always one."""

    def __init__(self, bits: int) -> None:
        depth = max(1, -(-bits // _SHIFT))
        self._levels: list[dict[int, int]] = [{} for _ in range(depth)]

    def add(self, item: int) -> None:
        for level in self._levels:
            node = item >> _SHIFT
            word = level.get(node, 0) | 1 << (item & _MASK)
            level[node] = word
            if word != _FULL:
                return
            item = node

    def remove(self, item: int) -> None:
        """KeyError or no effect if it is not a member: the caller knows."""
        for level in self._levels:
            node = item >> _SHIFT
            word = level[node]
            left = word & ~(1 << (item & _MASK))
            if left:
                level[node] = left
            else:
                del level[node]
            if word != _FULL:
                return
            item = node

    def next_absent(self, item: int) -> int:
        """The lowest integer >= item that is not a member; beyond the range if all of them are."""
        for depth, level in enumerate(self._levels):
            offset = item & _MASK
            free = ~level.get(item >> _SHIFT, 0) >> offset
            offset += (free & -free).bit_length() - 1
            if offset <= _MASK:
                return self._lowest_absent(depth, item & ~_MASK | offset)
            item = (item >> _SHIFT) + 1
        return item << _SHIFT * len(self._levels)

    def _lowest_absent(self, depth: int, item: int) -> int:
        """`item` names a word, `depth` levels above the members, that is not full."""
        for level in reversed(self._levels[:depth]):
            free = ~level.get(item, 0)
            item = item << _SHIFT | (free & -free).bit_length() - 1
        return item
