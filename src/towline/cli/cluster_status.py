"""`towline cluster status`: each node's role, liveness, and how far it is behind."""

from __future__ import annotations

import sys

from towline.cli import output
from towline.cli.client import connect
from towline.cli.errors import ApiError, CliError
from towline.cli.flags import Parsed
from towline.cli.formats import listing
from towline.cli.values import Object, as_list, as_object, as_text

_PATH = "/towline/v1/cluster"
_HEADINGS = {"ID": "ID", "DataPath": "DATA PATH", "EngineVersion": "ENGINE VERSION"}
_COLUMNS = ("ID", "Hostname", "Role", "State", "Availability", "Address", "Lag", "Skew", "Repairs", "Problem")
_UNKNOWN = "-"


def status(args: Parsed) -> int:
    client = connect(args)
    try:
        page = client.object("GET", _PATH)
    except ApiError as error:
        if error.code != 404:
            raise
        raise CliError(f"the daemon at {client.address} is not Towline: it has no {_PATH}") from None
    rows = [_row(as_object(node), as_text(page.get("node"))) for node in as_list(page.get("nodes"))]
    source = args.text("format")
    if args.on("json"):
        output.print_json(page)
    elif source and source != "table":
        sys.stdout.write(listing(source, rows, _row({}, ""), _HEADINGS))
    else:
        sys.stdout.write(_text(page, rows))
    return 0


def rotate_key(args: Parsed) -> int:
    """Nothing is lost meanwhile; it goes on after the answer."""
    connect(args).call("POST", f"{_PATH}/rotate-key")
    return 0


def _text(page: Object, rows: list[Object]) -> str:
    about = [
        ("Cluster:", as_text(page.get("cluster"))),
        ("This node:", f"{as_text(page.get('node'))} ({'manager' if page.get('manager') else 'worker'})"),
        ("Revision:", as_text(page.get("revision"))),
        ("Heard a manager:", _ago(page.get("silence"))),
    ]
    if error := as_text(page.get("error")):
        about.append(("Error:", error))
    table = [list(map(str.upper, _COLUMNS))]
    table += [
        [output.cell(as_text(row[name])) + (" *" if row["Self"] and name == "ID" else "") for name in _COLUMNS]
        for row in rows
    ]
    return output.table([(title, output.cell(text)) for title, text in about]) + "\n" + output.table(table)


def _row(node: Object, own_id: str) -> Object:
    """The fields that a template sees."""
    manager = as_object(node.get("manager"))
    return {
        "ID": as_text(node.get("id")),
        "Self": bool(own_id) and node.get("id") == own_id,
        "Hostname": as_text(node.get("hostname")),
        "Role": _role(node, manager),
        "State": _state(node, manager),
        "Availability": as_text(node.get("availability")),
        "Address": as_text(node.get("address")),
        "DataPath": as_text(node.get("data_path")),
        "EngineVersion": as_text(node.get("engine_version")),
        "Revision": _number(node.get("revision")),
        "Lag": _number(node.get("lag")),
        "Skew": _seconds(node.get("skew")),
        "Repairs": _number(node.get("repairs")),
        "Problem": as_text(node.get("problem")),
    }


def _role(node: Object, manager: Object) -> str:
    """What it is; while it is on the way, also what it is to be."""
    wanted = as_text(node.get("role"))
    if manager:
        now = "leader" if manager.get("leader") else "manager"
        return f"{now} (to be worker)" if wanted == "worker" else now
    return "worker (to be manager)" if wanted == "manager" else wanted


def _state(node: Object, manager: Object) -> str:
    state = as_text(node.get("state"))
    return f"{state}, unreachable" if manager and not manager.get("reachable") else state


def _number(value: object) -> str:
    return _UNKNOWN if value is None else as_text(value)


def _seconds(value: object) -> str:
    return f"{value:+.3f}s" if isinstance(value, (int, float)) else _UNKNOWN


def _ago(value: object) -> str:
    return f"{value:.1f}s ago" if isinstance(value, (int, float)) else "never"
