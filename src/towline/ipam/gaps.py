"""What is free on a line of integers, as sorted disjoint intervals; finds the lowest free aligned block fast.

Gaps are also listed by the largest aligned power-of-two block that fits into them, so that a search looks at one
gap per size class instead of at every gap that is too small.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort


class Gaps:
    """Free intervals of 0..last, all free at first. Ends are inclusive everywhere.

    Every operation is O(log n) steps plus moving a part of a list of n machine words.
    """

    def __init__(self, last: int) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._by_order: dict[int, list[int]] = {}
        self._replace(0, 0, [(0, last)])

    def is_free(self, start: int, end: int) -> bool:
        """Is all of start..end free?"""
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def fill(self, start: int, end: int) -> None:
        """start..end is not free from now on."""
        low, high = bisect_left(self._ends, start), bisect_right(self._starts, end)
        if low >= high:
            return
        pieces = []
        if self._starts[low] < start:
            pieces.append((self._starts[low], start - 1))
        if self._ends[high - 1] > end:
            pieces.append((end + 1, self._ends[high - 1]))
        self._replace(low, high, pieces)

    def clear(self, start: int, end: int) -> None:
        """start..end is free from now on."""
        low, high = bisect_left(self._ends, start - 1), bisect_right(self._starts, end + 1)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._replace(low, high, [(start, end)])

    def first_block(self, start: int, end: int, order: int) -> int | None:
        """First address of the lowest free block of 2**order addresses, aligned to its size, inside start..end."""
        size = 1 << order
        at = bisect_right(self._starts, start) - 1
        block = _align(start, order)
        if at < 0 or block + size - 1 > self._ends[at]:
            above = self._next_gap(start, order)
            if above is None:
                return None
            block = _align(above, order)
        return block if block + size - 1 <= end else None

    def _next_gap(self, after: int, order: int) -> int | None:
        """Start of the lowest gap that begins above `after` and has room for an aligned block."""
        starts = (
            gaps[at]
            for fits, gaps in self._by_order.items()
            if fits >= order and (at := bisect_right(gaps, after)) < len(gaps)
        )
        return min(starts, default=None)

    def _replace(self, low: int, high: int, pieces: list[tuple[int, int]]) -> None:
        for start, end in zip(self._starts[low:high], self._ends[low:high], strict=True):
            order = _fitting_order(start, end)
            gaps = self._by_order[order]
            del gaps[bisect_left(gaps, start)]
            if not gaps:
                del self._by_order[order]
        self._starts[low:high] = [start for start, _ in pieces]
        self._ends[low:high] = [end for _, end in pieces]
        for start, end in pieces:
            insort(self._by_order.setdefault(_fitting_order(start, end), []), start)


def _align(value: int, order: int) -> int:
    return -(-value >> order) << order


def _fitting_order(start: int, end: int) -> int:
    """The largest k for which an aligned block of 2**k fits into start..end."""
    order = (end - start + 1).bit_length() - 1
    return order if _align(start, order) + (1 << order) - 1 <= end else order - 1
