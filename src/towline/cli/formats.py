"""`--format` and `--json` of commands that show records: one place decides how a record becomes text."""

from __future__ import annotations

import sys

from towline.cli import jsontext
from towline.cli.flags import Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def shaper(args: Parsed) -> Callable[[object], str] | None:
    """One line of text for a value, as --format says; None without --format. Raises UsageError."""
    source = args.text("format")
    if not source:
        return None
    if source == "json":
        return lambda value: jsontext.dumps(value) + "\n"
    from towline.cli.template import compile_template

    fill = compile_template(source)
    return lambda value: fill(value) + "\n"


def show(args: Parsed, value: object, human: Callable[[], str]) -> None:
    """Print one value: by --format, as indented JSON for --json, else as `human` puts it."""
    shape = shaper(args)
    if shape is not None:
        text = shape(value)
    elif args.on("json"):
        text = jsontext.dumps(value, indent=4) + "\n"
    else:
        text = human()
    sys.stdout.write(text)
