"""`--format` and `--json` of commands that show records: one place decides how a record becomes text."""

from __future__ import annotations

import sys

from towline.cli import jsontext, output
from towline.cli.flags import Parsed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from towline.cli.values import Object


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


def listing(source: str, rows: list[Object], blank: Object, headings: dict[str, str]) -> str:
    """Rows by a list command's --format: "json", "table TEMPLATE" or a template.

    blank: a row whose members' names head the columns, where `headings` has nothing better.
    """
    if source == "json":
        return "".join(jsontext.dumps({k: v for k, v in row.items() if not callable(v)}) + "\n" for row in rows)
    from towline.cli.template import compile_template, unescape

    shape = compile_template(unescape(source.removeprefix("table ")))
    if not source.startswith("table "):
        return "".join(shape(row) + "\n" for row in rows)
    heads: Object = {
        name: str if callable(value) else headings.get(name, name.upper()) for name, value in blank.items()
    }
    lines = [shape(heads), *(shape(row) for row in rows)]
    return output.table([[output.cell(text) for text in line.split("\t")] for line in lines])
