"""`towline doctor`: what differs between the store and the kernel, in words, and its repair."""

from __future__ import annotations

import sys

from towline.cli import output
from towline.cli.client import Client, connect
from towline.cli.errors import ApiError, CliError
from towline.cli.flags import Parsed
from towline.cli.values import Object, as_list, as_object, as_text

_DIAGNOSE = "/towline/v1/diagnose"
_REPAIR = "/towline/v1/repair"


def doctor(args: Parsed) -> int:
    """0 if store and kernel are equal in the end, 1 if something differs still."""
    client = connect(args)
    repaired = _findings(client, "POST", _REPAIR) if args.on("fix") else []
    left = _findings(client, "GET", _DIAGNOSE)
    if args.on("json"):
        output.print_json({"Equal": not left, "Repaired": repaired, "Findings": left})
    else:
        sys.stdout.write(_report(repaired, left, fixing=args.on("fix")))
    return 1 if left else 0


def _findings(client: Client, method: str, target: str) -> list[Object]:
    try:
        answer = client.call(method, target, patient=True)
    except ApiError as error:
        if error.code != 404:
            raise
        raise CliError(f"the daemon at {client.address} is not Towline: it has no {target}") from None
    found = as_object(answer).get("Findings") if isinstance(answer, dict) else answer
    return [_finding(as_object(item)) for item in as_list(found)]


def _finding(item: Object) -> Object:
    """Object, Problem, Repair, however the daemon spells them."""
    return {name.capitalize(): value for name, value in item.items()}


def _report(repaired: list[Object], left: list[Object], *, fixing: bool) -> str:
    text = ""
    if repaired:
        text += _counted(len(repaired), "found and repaired" if not left else "found") + "\n\n"
        text += _listing(repaired, "repaired by") + "\n"
    if not left:
        return text + output.paint("Store and kernel are equal.", "green", sys.stdout) + "\n"
    tail = "still there after the repair" if fixing else "between what is stored and what the kernel has"
    text += output.paint(_counted(len(left), tail), "yellow", sys.stdout) + "\n\n" + _listing(left, "repair")
    if fixing:
        return text + "\nThe daemon's log says why. Run `towline doctor` again in a moment.\n"
    return text + "\nRun `towline doctor --fix` to repair.\n"


def _counted(count: int, what: str) -> str:
    return f"{count} difference{'' if count == 1 else 's'} {what}:"


def _listing(findings: list[Object], verb: str) -> str:
    lines = []
    for number, finding in enumerate(findings, 1):
        about, problem, repair = (output.cell(as_text(finding.get(key))) for key in ("Object", "Problem", "Repair"))
        lines.append(f"{number:3}. {output.paint(about, 'bold', sys.stdout)}\n     {problem}\n")
        if repair:
            lines.append(f"     {verb}: {repair}\n")
    return "".join(lines)
