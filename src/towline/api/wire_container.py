"""Sandboxes as Docker shows containers, read-only (moby api/types/container). What a sandbox has not is empty."""

from __future__ import annotations

from typing import Any

from towline.api.durations import human
from towline.api.versions import Version
from towline.api.wire_out import rfc3339_nano
from towline.api.wire_settings import Joined, network_settings, networks, port_list
from towline.model.sandbox import PortBinding, Sandbox

NEVER = "0001-01-01T00:00:00Z"


def list_item(sandbox: Sandbox, joined: Joined, version: Version, now: int) -> dict[str, Any]:
    """An element of GET /containers/json. now: nanoseconds since the epoch."""
    return {
        "Id": sandbox.id,
        "Names": [f"/{sandbox.name}"],
        "Image": "",
        "ImageID": "",
        "Command": " ".join(sandbox.command),
        "Created": sandbox.created // 10**9,
        "Ports": port_list(sandbox, joined),
        "Labels": sandbox.labels,
        "State": sandbox.state,
        "Status": status(sandbox, now),
        "HostConfig": {"NetworkMode": sandbox.mode},
        "NetworkSettings": {"Networks": networks(sandbox, joined, version)},
        "Mounts": [],
    }


def inspect(sandbox: Sandbox, joined: Joined, version: Version) -> dict[str, Any]:
    """GET /containers/{id}/json."""
    return {
        "Id": sandbox.id,
        "Created": rfc3339_nano(sandbox.created),
        "Path": sandbox.command[0] if sandbox.command else "",
        "Args": sandbox.command[1:],
        "State": _state(sandbox),
        "Image": "",
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": "",
        "Name": f"/{sandbox.name}",
        "RestartCount": sandbox.restarts,
        "Driver": "",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": _host_config(sandbox),
        "GraphDriver": {"Data": None, "Name": ""},
        "Mounts": [],
        "Config": _config(sandbox),
        "NetworkSettings": network_settings(sandbox, joined, version),
    }


def status(sandbox: Sandbox, now: int) -> str:
    """In words, as `docker ps` has it (moby daemon/container/state.go)."""
    if sandbox.state == "running":
        return f"Up {human(now - sandbox.started)}"
    if sandbox.state == "exited":
        return f"Exited ({sandbox.exit_code}) {human(now - sandbox.finished)} ago"
    return "Created"


def _state(sandbox: Sandbox) -> dict[str, Any]:
    return {
        "Status": sandbox.state,
        "Running": sandbox.state == "running",
        "Paused": False,
        "Restarting": False,
        "OOMKilled": False,
        "Dead": False,
        "Pid": sandbox.process.pid if sandbox.process and sandbox.state == "running" else 0,
        "ExitCode": sandbox.exit_code,
        "Error": "",
        "StartedAt": _moment(sandbox.started),
        "FinishedAt": _moment(sandbox.finished),
    }


def _host_config(sandbox: Sandbox) -> dict[str, Any]:
    policy, _, retries = sandbox.restart.partition(":")
    return {
        "NetworkMode": sandbox.mode,
        "PortBindings": _bindings(sandbox.ports),
        "RestartPolicy": {"Name": policy, "MaximumRetryCount": int(retries or 0)},
        "AutoRemove": sandbox.auto_remove,
        "Dns": sandbox.dns.servers,
        "DnsOptions": sandbox.dns.options,
        "DnsSearch": sandbox.dns.search,
        "ExtraHosts": sandbox.extra_hosts or None,
        "PublishAllPorts": False,
        "Sysctls": sandbox.sysctls or None,
        "LogConfig": {"Type": "", "Config": {}},
    }


def _bindings(ports: tuple[PortBinding, ...]) -> dict[str, list[dict[str, str]]]:
    shown: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        host_port = f"{port.host_port}-{port.host_port_end}" if port.host_port_end else str(port.host_port or "")
        binding = {"HostIp": port.host_ip, "HostPort": host_port}
        shown.setdefault(f"{port.port}/{port.protocol}", []).append(binding)
    return dict(sorted(shown.items()))


def _config(sandbox: Sandbox) -> dict[str, Any]:
    exposed = dict.fromkeys([*sandbox.exposed, *(f"{port.port}/{port.protocol}" for port in sandbox.ports)])
    return {
        "Hostname": sandbox.hostname,
        "Domainname": "",
        "User": "",
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        **({"ExposedPorts": {port: {} for port in sorted(exposed)}} if exposed else {}),
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": sandbox.environment,
        "Cmd": sandbox.command or None,
        "Image": "",
        "Volumes": None,
        "WorkingDir": sandbox.directory,
        "Entrypoint": None,
        "Labels": sandbox.labels,
    }


def _moment(nanoseconds: int) -> str:
    return rfc3339_nano(nanoseconds) if nanoseconds else NEVER
