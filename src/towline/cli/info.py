"""`towline info`."""

from __future__ import annotations

from towline.cli import formats, output
from towline.cli.client import connect
from towline.cli.flags import Parsed
from towline.cli.values import Object, as_list, as_object, as_text

_ROWS = (
    ("Name", "Host name"),
    ("ID", "Daemon id"),
    ("ServerVersion", "Version"),
    ("OperatingSystem", "Operating system"),
    ("KernelVersion", "Kernel"),
    ("Architecture", "Architecture"),
    ("NCPU", "CPUs"),
    ("MemTotal", "Memory (bytes)"),
    ("DockerRootDir", "Data root"),
    ("DefaultRuntime", "Runtime"),
    ("IPv4Forwarding", "IPv4 forwarding"),
    ("Debug", "Debug"),
    ("NEventsListener", "Event listeners"),
    ("SystemTime", "Time"),
)


def info(args: Parsed) -> int:
    formats.shaper(args)
    answer = connect(args).object("GET", "/info")
    formats.show(args, answer, lambda: _page(answer))
    return 0


def _page(answer: Object) -> str:
    rows = [
        (f"{title}:", output.cell(as_text(answer[key]))) for key, title in _ROWS if answer.get(key) not in (None, "")
    ]
    drivers = as_list(as_object(answer.get("Plugins")).get("Network"))
    if drivers:
        rows.append(("Network drivers:", output.cell(" ".join(map(as_text, drivers)))))
    for pool in map(as_object, as_list(answer.get("DefaultAddressPools"))):
        rows.append(("Address pool:", output.cell(f"{as_text(pool.get('Base'))} in /{as_text(pool.get('Size'))}")))
    warnings = "".join(f"WARNING: {output.cell(as_text(text))}\n" for text in as_list(answer.get("Warnings")))
    return output.table(rows) + warnings
