"""Which texts may stand in names, files and arguments. A refusal names the object, the cause and the remedy."""

from __future__ import annotations

import re

from towline.model.errors import InvalidParameter

LONGEST_NAME = 255
"""Bytes; also the longest name that DNS can carry."""

_LABELS = re.compile(
    r"(?=.{1,63}\Z)(?:[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9_-]*[a-zA-Z0-9])?)*"
)


def shown(text: str) -> str:
    """`text` for a message: quoted, unprintable characters escaped, cut where it is very long."""
    cut = text if len(text) <= 100 else text[:97] + "..."
    return "'" + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in cut) + "'"


def what_is_wrong_with_name(text: str) -> str:
    """Why no host can have this name; "" if one can."""
    if not text:
        return "it is empty"
    if len(text.encode("utf-8", "surrogateescape")) > LONGEST_NAME:
        return f"it is longer than {LONGEST_NAME} bytes"
    if any(c.isspace() or not c.isprintable() for c in text):
        return "blanks and control characters are not allowed in names"
    return ""


def is_hostname(text: str) -> bool:
    """Letters, digits, dashes and underscores in parts between dots; at most 63 bytes (moby's limit)."""
    return _LABELS.fullmatch(text) is not None


def check_no_nul(what: str, text: str) -> None:
    if "\0" in text:
        raise InvalidParameter(f"{what} {shown(text)} holds a NUL byte, which no process can be given: leave it out")


def check_one_line(what: str, text: str) -> None:
    """It will be a part of one line of a file."""
    if any(not c.isprintable() for c in text):
        raise InvalidParameter(f"{what} {shown(text)} holds a line break or another control character: leave it out")
