"""The page that `towline inspect` shows of one sandbox."""

from __future__ import annotations

import sys

from towline.cli import output
from towline.cli.sandbox_words import command, port, status
from towline.cli.values import Object, as_list, as_object, as_text

_INDENT = "  "


def page(sandbox: Object) -> str:
    name = output.paint(output.cell(as_text(sandbox.get("name"))), "bold", sys.stdout)
    text = f"{name}  {output.cell(status(sandbox))}\n" + _rows(_facts(sandbox), 1)
    paths = {as_text(path.get("endpoint")): path for path in map(as_object, as_list(sandbox.get("path")))}
    for endpoint in map(as_object, as_list(sandbox.get("endpoints"))):
        text += "\n" + _endpoint(endpoint, paths.get(as_text(endpoint.get("id")), {}))
    return text


def _facts(sandbox: Object) -> list[tuple[str, str]]:
    labels = as_object(sandbox.get("labels"))
    restart = as_text(sandbox.get("restart"))
    return [
        ("id", as_text(sandbox.get("id"))),
        ("command", command(sandbox, 0)),
        ("directory", as_text(sandbox.get("directory")) if sandbox.get("origin") != "attach" else ""),
        ("hostname", as_text(sandbox.get("hostname"))),
        ("process", as_text(sandbox.get("pid") or "")),
        ("namespace", as_text(sandbox.get("netns"))),
        ("restart", "" if restart == "no" else restart),
        ("labels", ", ".join(f"{key}={as_text(value)}" for key, value in labels.items())),
        ("exposed", _joined(sandbox.get("exposed"))),
    ]


def _endpoint(endpoint: Object, path: Object) -> str:
    network = output.paint(output.cell(as_text(endpoint.get("network_name"))), "bold", sys.stdout)
    facts = [
        ("interface", _pair(endpoint, "ifname", "host_link")),
        ("mac", as_text(endpoint.get("mac"))),
        ("ipv4", _pair(endpoint, "ipv4", "gateway_ipv4", "by")),
        ("ipv6", _pair(endpoint, "ipv6", "gateway_ipv6", "by")),
        ("names", _joined(endpoint.get("dns_names"))),
        ("ports", ", ".join(port(as_object(one)) for one in as_list(endpoint.get("published")))),
    ]
    text = f"{_INDENT}network {network}\n" + _rows(facts, 2)
    return text + "".join(_step(as_object(step)) for step in as_list(path.get("steps")))


def _step(step: Object) -> str:
    """One part of the path: how it should be, and what is wrong with it."""
    about, told, problem = (output.cell(as_text(step.get(key))) for key in ("object", "text", "problem"))
    mark = output.paint("wrong", "red", sys.stdout) if problem else output.paint("ok", "green", sys.stdout) + "   "
    words = ": ".join(filter(None, (about, told, problem)))
    return f"{_INDENT * 2}{mark}  {words}\n"


def _pair(endpoint: Object, first: str, second: str, between: str = "at") -> str:
    left, right = as_text(endpoint.get(first)), as_text(endpoint.get(second))
    return f"{left} {between} {right}" if left and right else left or right


def _joined(value: object) -> str:
    return ", ".join(map(as_text, as_list(value)))


def _rows(facts: list[tuple[str, str]], depth: int) -> str:
    shown = [(f"{_INDENT * depth}{title}", output.cell(text)) for title, text in facts if text]
    return output.table(shown)
