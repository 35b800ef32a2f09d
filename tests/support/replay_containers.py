"""Recorded steps that make, start, restart and remove containers, played with sandboxes instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

SANDBOXES = "/towline/v1/sandboxes"

Request = tuple[str, str, Any]


def requests(do: Mapping[str, Any]) -> list[Request]:
    """(method, path, body) of what stands for the step; the last one's answer is the step's."""
    target = urlsplit(do["url"])
    query = {name: values[0] for name, values in parse_qs(target.query).items()}
    parts = target.path.partition("/containers/")[2].split("/")
    if parts == ["create"]:
        return [("POST", SANDBOXES, _sandbox(query["name"], do["body"]))]
    path = f"{SANDBOXES}/{parts[0]}"
    if do["method"] == "DELETE":
        return [("DELETE", f"{path}?force={query['force']}", None)]
    stop = ("POST", f"{path}/stop?t={query.get('t', '10')}", None)
    start = ("POST", f"{path}/start", None)
    return {"start": [start], "stop": [stop], "restart": [stop, start]}[parts[1]]


def as_docker(do: Mapping[str, Any], status: int, body: Any) -> tuple[int, Any]:
    """The last answer as Docker would put it. Refusals are left as they are."""
    if status >= 400:
        return status, body
    if "/create" in do["url"]:
        return status, {"Id": body["id"], "Warnings": [body["warning"]] if body["warning"] else []}
    return (status if status == 304 else 204), ""


def _sandbox(name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    host = body["HostConfig"]
    return {
        "name": name,
        "hostname": body.get("Hostname"),
        "networks": [{"network": host["NetworkMode"]}],
        "command": body["Cmd"],
        "ports": list(_ports(host.get("PortBindings", {}))),
        "exposed": [port for port in body.get("ExposedPorts", {}) if port in host["PortBindings"] and _is_port(port)],
    }


def _ports(bindings: Mapping[str, Any]) -> Iterator[str]:
    """As the text after -p. Docker publishes a port with no binding at all on any free one."""
    for port, wanted in bindings.items():
        for binding in wanted or [{}]:
            parts = [binding.get("HostIp", ""), binding.get("HostPort", ""), port]
            yield ":".join(parts if parts[0] else parts[1:] if parts[1] else parts[2:])


def _is_port(text: str) -> bool:
    """Refused ports are refused as published ones."""
    number, _, protocol = text.partition("/")
    return number != "0" and protocol in ("tcp", "udp", "sctp")
