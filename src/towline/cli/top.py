"""`towline top`: the picture, once or again and again on a terminal."""

from __future__ import annotations

import os
import sys
import time

from towline.cli import output
from towline.cli.client import Client, connect
from towline.cli.errors import CliError
from towline.cli.flags import Parsed, usage
from towline.cli.top_sample import Sample, look, picture
from towline.cli.values import Object, as_list, as_object, as_text

_BEGIN = "\x1b[?1049h\x1b[?25l"  # the terminal's second screen, no cursor
_END = "\x1b[?25h\x1b[?1049l"
_HOME, _LINE_END, _REST = "\x1b[H", "\x1b[K\r\n", "\x1b[J"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def top(args: Parsed) -> int:
    """One picture if it is asked for or standard output is no terminal; else until Ctrl-C."""
    client, interval = connect(args), _interval(args.text("interval") or "1")
    if not (args.on("once") or args.on("json")) and sys.stdout.isatty():
        return _watch(client, interval)
    first = look(client)
    time.sleep(interval)
    found = picture(first, look(client))
    if args.on("json"):
        output.print_json(found)
    else:
        sys.stdout.write("".join(line + "\n" for line in page(found)))
    return 0


def page(found: Object) -> list[str]:
    """The picture in lines."""
    networks = [as_object(row) for row in as_list(found["Networks"])]
    endpoints = [as_object(row) for row in as_list(found["Endpoints"])]
    rate = as_text(found["DnsRate"])
    head = f"{len(networks)} networks, {found['Sandboxes']} sandboxes, {found['Running']} running, "
    head += f"{len(endpoints)} endpoints" + (f", {rate} name queries a second" if rate else "")
    upper: list[tuple[str, ...]] = [("NETWORK", "DRIVER", "ENDPOINTS", "RECEIVED/S", "SENT/S")]
    for row in networks:
        upper.append((*_words(row, "Name", "Driver", "Endpoints"), *_sizes(row, "ReceiveRate", "SendRate")))
    lower: list[tuple[str, ...]] = [
        ("SANDBOX", "NETWORK", "INTERFACE", "ADDRESS", "RECEIVED/S", "SENT/S", "RECEIVED", "SENT")
    ]
    for row in endpoints:
        sizes = _sizes(row, "ReceiveRate", "SendRate", "Received", "Sent")
        lower.append((*_words(row, "Sandbox", "Network", "Interface", "Address"), *sizes))
    return [head, "", *output.table(upper).splitlines(), "", *output.table(lower).splitlines()]


def size(value: object) -> str:
    """Bytes for people: 1.2 MB; "-" for what is not known."""
    if not isinstance(value, int):
        return "-"
    number, unit = float(value), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.1f} {_UNITS[unit]}" if unit and number < 99.95 else f"{number:.0f} {_UNITS[unit]}"


def _words(row: Object, *fields: str) -> list[str]:
    return [output.cell(as_text(row[field])) or "-" for field in fields]


def _sizes(row: Object, *fields: str) -> list[str]:
    return [size(row[field]) for field in fields]


def _watch(client: Client, interval: float) -> int:
    """A daemon that goes away does not end it: the last picture stays, with the reason, until it is back."""
    before = look(client)
    sys.stdout.write(_BEGIN)
    try:
        lines = page(picture(before, before))
        while True:
            _draw(lines)
            time.sleep(interval)
            lines, before = _next(client, before, lines)
    except KeyboardInterrupt:
        return 0
    finally:
        sys.stdout.write(_END)
        sys.stdout.flush()


def _next(client: Client, before: Sample, lines: list[str]) -> tuple[list[str], Sample]:
    try:
        after = look(client)
    except CliError as error:
        return [output.paint(output.cell(error.message), "red", sys.stdout), *lines[1:]], before
    return page(picture(before, after)), after


def _draw(lines: list[str]) -> None:
    columns, rows = os.get_terminal_size(sys.stdout.fileno())
    wide, high = columns or 80, rows or 24  # a terminal that does not know its size says 0
    shown = [line if line.startswith("\x1b") else line[:wide] for line in lines[: max(high - 1, 1)]]
    sys.stdout.write(_HOME + "".join(line + _LINE_END for line in shown) + _REST)
    sys.stdout.flush()


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise usage(f'--interval wants 0.1 to 3600 seconds, not "{text}"', "top")
    return seconds
