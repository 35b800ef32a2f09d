"""Which known word may have been meant. Imported only when a word is unknown."""

from __future__ import annotations

from collections.abc import Sequence

SHORT = 4  # letters; shorter words are near only at one slip, longer ones at two


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that `word` begins, if it is the only one, else the one with the fewest slips; "" if none is near.
    Leading dashes do not count as letters."""
    bare = word.lstrip("-")
    begun = [candidate for candidate in known if len(bare) > 1 and candidate.lstrip("-").startswith(bare)]
    if len(begun) == 1:
        return begun[0]
    distances = [(slips(bare, candidate.lstrip("-")), candidate) for candidate in known if len(candidate) > 2]
    least, candidate = min(distances, key=lambda pair: pair[0], default=(len(bare), ""))
    return candidate if least <= (1 if len(bare) <= SHORT else 2) else ""


def slips(a: str, b: str) -> int:
    """Optimal string alignment: letters left out, added, changed, and neighbours swapped."""
    two_above: list[int] = []
    above = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        row = [i]
        for j, other in enumerate(b, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == b[j - 2] and a[i - 2] == other:
                cost = min(cost, two_above[j - 2] + 1)
            row.append(cost)
        two_above, above = above, row
    return above[-1]
