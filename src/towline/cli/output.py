"""What is printed: aligned tables, JSON, and colour only where a person looks."""

from __future__ import annotations

import os
import sys

from towline.cli import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from towline.cli.errors import CliError

_CODES = {"red": "1;31", "green": "32", "yellow": "33", "bold": "1"}
_MIN_WIDTH = 10
_GAP = 3


def clean(text: str) -> str:
    """Text of others for a terminal: control characters (but newline and tab) are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def cell(text: str) -> str:
    """As `clean`, on one line."""
    return text if text.isprintable() else clean(text).replace("\n", "\\n").replace("\t", "\\t")


def paint(text: str, colour: str, stream: TextIO) -> str:
    """Coloured if the stream is a terminal that knows colours and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned as the docker CLI does it: at least 10 wide, 3 apart, the last one as it is."""
    widths: list[int] = []
    for row in rows:
        widths.extend([_MIN_WIDTH] * (len(row) - 1 - len(widths)))
        for index, text in enumerate(row[:-1]):
            widths[index] = max(widths[index], len(text) + _GAP)
    lines = (
        "".join(text.ljust(width) for text, width in zip(row, [*widths[: len(row) - 1], 0], strict=True))
        for row in rows
    )
    return "".join(line + "\n" for line in lines)


def complain(error: CliError) -> None:
    """`towline: message` and the hint, on standard error."""
    lines = [paint("towline:", "red", sys.stderr) + " " + clean(error.message)]
    if error.hint:
        lines.append(clean(error.hint))
    sys.stderr.write("\n".join(lines) + "\n")


def print_json(value: object) -> None:
    sys.stdout.write(jsontext.dumps(value, indent=4) + "\n")
