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
    ("publish p50, ms", "change publish p50_ms", 1),
    ("publish p99, ms", "change publish p99_ms", 1),
    ("commit to last row p50, ms", "change rows p50_ms", 1),
    ("commit to last row p99, ms", "change rows p99_ms", 1),
    ("  on networks of all nodes p50, ms", "change rows_wide p50_ms", 1),
    ("  on networks of all nodes p99, ms", "change rows_wide p99_ms", 1),
    ("  on networks of 10 nodes p99, ms", "change rows_medium p99_ms", 1),
    ("  on networks of 4 nodes p99, ms", "change rows_small p99_ms", 1),
    ("request to last row p99, ms", "change rows_from_request p99_ms", 1),
    ("manager's processor, idle", "idle cpu_manager", 3),
    ("  changing", "change cpu_manager", 3),
    ("  for each update told, filling, us", "fill manager_us_per_update", 0),
    ("  for each update told, changing, us", "change manager_us_per_update", 0),
    ("all nodes' processor, idle", "idle cpu_nodes", 3),
    ("  changing", "change cpu_nodes", 3),
    ("  for each row, filling, us", "fill node_us_per_row", 0),
    ("  for each row, changing, us", "change node_us_per_row", 0),
    ("manager's memory when full, MB", "idle manager_resident_mb", 0),
    ("nodes' memory when full, KB for each", "idle nodes_resident_kb", 0),
    ("etcd keys written/s, idle", "idle etcd puts", 1),
    ("etcd keys written/s, changing", "change etcd puts", 1),
    ("etcd keys written/s, filling", "fill etcd puts", 0),
    ("etcd bytes in/s, changing", "change etcd bytes_in", 0),
    ("etcd bytes out/s, changing", "change etcd bytes_out", 0),
    ("etcd fsyncs/s, changing", "change etcd fsyncs", 1),
    ("etcd processor, changing", "change etcd cpu_seconds", 3),
    ("etcd database, MB", "fill etcd database_mb", 0),
    ("watched per node while joining, KB", "join watched_kb_per_node", 0),
    ("watched per node while filling, KB", "fill watched_kb_per_node", 0),
    ("watched per node while changing, KB", "change watched_kb_per_node", 1),
    ("restart of a node, s", "restart restarted seconds", 3),
    ("restart of a node, KB", "restart restarted kb", 0),
    ("half cut off: equal after, s", "divide healed_s", 2),
    ("  watched per node while healing, KB", "divide watched_kb_per_node", 0),
)
NOTE = (
    "The manager is in one process, all nodes in a few others, beside them etcd: what they need of the processors\n"
    "they take from each other. Each node asks the node API over mutual TLS; kernels are fakes; equal records of\n"
    "the nodes of one process share their memory."
)


def table(runs: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> str:
    heads = [str(run["settings"]["nodes"]) for run in runs]
    lines = [f"{'nodes':46}" + "".join(f"{head:>12}" for head in heads)]
    for name, path, digits in _LINES:
        cells = [_cell(run, path.split(), digits) for run in runs]
        lines.append(f"{name:46}" + "".join(f"{cell:>12}" for cell in cells))
    lines += [f"{'all equal in the end':46}" + "".join(f"{'yes' if run.get('equal') else 'NO':>12}" for run in runs)]
    processes = ", ".join(str(run["settings"]["processes"]) for run in runs)
    return "\n".join([*lines, "", NOTE, f"Processes of nodes: {processes}. Machine: {dict(machine)}"])


def _cell(run: Mapping[str, Any], path: Sequence[str], digits: int) -> str:
    value: Any = run
    for name in path:
        if name not in value:
            return "-"
        value = value[name]
    return f"{value:,.{digits}f}"
