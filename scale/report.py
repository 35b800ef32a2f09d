"""The figures as a table: one line each, one column for each size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LINES = (
    ("endpoints", "fill endpoints", 0),
    ("networks", "join networks", 0),
    ("all nodes know the cluster, s", "join all_known_s", 1),
    ("filling, endpoints/s", "fill endpoints_per_s", 0),
    ("records of others per node", "fill records_per_node", 0),
    ("memory per node before endpoints, KB", "join memory_per_node_kb", 0),
    ("  and for the records, KB", "fill memory_per_node_kb", 0),
    ("publish p50, ms", "change publish p50_ms", 1),
    ("publish p99, ms", "change publish p99_ms", 1),
    ("commit to last row p50, ms", "change rows p50_ms", 1),
    ("commit to last row p99, ms", "change rows p99_ms", 1),
    ("  on networks of all nodes p50, ms", "change rows_wide p50_ms", 1),
    ("  on networks of all nodes p99, ms", "change rows_wide p99_ms", 1),
    ("  on networks of 4 nodes p99, ms", "change rows_small p99_ms", 1),
    ("request to last row p99, ms", "change rows_from_request p99_ms", 1),
    ("processor of managers and nodes, idle", "idle cpu", 2),
    ("processor of managers and nodes, changing", "change cpu", 2),
    ("etcd keys written/s, idle", "idle etcd puts", 1),
    ("etcd keys written/s, changing", "change etcd puts", 1),
    ("etcd keys written/s, filling", "fill etcd puts", 0),
    ("etcd bytes in/s, changing", "change etcd bytes_in", 0),
    ("etcd bytes out/s, changing", "change etcd bytes_out", 0),
    ("etcd fsyncs/s, changing", "change etcd fsyncs", 1),
    ("etcd processor, changing", "change etcd cpu_seconds", 3),
    ("watched per node while joining, bytes", "join watched_bytes_per_node", 0),
    ("watched per node while filling, bytes", "fill watched_bytes_per_node", 0),
    ("watched per node while changing, bytes", "change watched_bytes_per_node", 0),
    ("restart of a node, s", "restart seconds", 3),
    ("restart of a node, bytes", "restart bytes", 0),
    ("half cut off: equal after, s", "divide healed_s", 2),
)
NOTE = (
    "One process has the manager and all nodes (a fake kernel each), beside it etcd: what the nodes need of the\n"
    "processor they take from each other and from the manager. All but a few nodes ask the manager in the process;\n"
    "the few over mutual TLS."
)


def table(runs: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> str:
    heads = [str(run["settings"]["nodes"]) for run in runs]
    lines = [f"{'nodes':46}" + "".join(f"{head:>12}" for head in heads)]
    for name, path, digits in _LINES:
        cells = [_cell(run, path.split(), digits) for run in runs]
        lines.append(f"{name:46}" + "".join(f"{cell:>12}" for cell in cells))
    lines += [f"{'all equal in the end':46}" + "".join(f"{'yes' if run.get('equal') else 'NO':>12}" for run in runs)]
    remote = ", ".join(str(run["settings"]["remote"]) for run in runs)
    return "\n".join([*lines, "", NOTE, f"Nodes over TLS: {remote}. Machine: {dict(machine)}"])


def _cell(run: Mapping[str, Any], path: Sequence[str], digits: int) -> str:
    value: Any = run
    for name in path:
        if name not in value:
            return "-"
        value = value[name]
    return f"{value:,.{digits}f}"
