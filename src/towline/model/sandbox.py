"""A sandbox: a network namespace with endpoints, and the process that lives in it."""

from __future__ import annotations

from typing import Literal

import msgspec

from towline.model.endpoint import Protocol

State = Literal["created", "running", "exited"]
Origin = Literal["run", "attach", "mesh"]
MESH = "ingress-sbox"
"""Id and name (Docker's) of a node's sandbox for ports that are published on every node."""


class PortBinding(msgspec.Struct, frozen=True):
    """A port to publish, as asked. host_port 0: any free one; host_port_end > host_port: any free one of the range.

    host_ip "": all addresses of every family that the host has.
    """

    port: int
    protocol: Protocol = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0


class DnsConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """resolv.conf overrides; empty: as the host has them."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Process(msgspec.Struct, frozen=True):
    """started: field 22 of /proc/<pid>/stat, clock ticks since boot: a pid that was reused has another one."""

    pid: int
    started: int


class Sandbox(msgspec.Struct, frozen=True, omit_defaults=True):
    """netns: path of the namespace, "" while there is none. Ours is pinned under the daemon's run directory.

    origin: "run": the namespace is ours and goes with the process; "attach": it is somebody else's; "mesh": ours too,
    without a process, and made by us: clients do not see this sandbox.
    mode: name or id of the network it was started on, or "host" or "none". created, started, finished: nanoseconds
    since the epoch, 0 = never. restart: "no", "always", "unless-stopped", "on-failure[:n]". stopped: by the user.
    service: id of the service that it is a member of.
    """

    id: str
    name: str
    created: int
    origin: Origin = "run"
    state: State = "created"
    mode: str = ""
    hostname: str = ""
    netns: str = ""
    process: Process | None = None
    started: int = 0
    finished: int = 0
    exit_code: int = 0
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    directory: str = "/"
    restart: str = "no"
    restarts: int = 0
    stopped: bool = False
    auto_remove: bool = False
    dns: DnsConfig = DnsConfig()
    extra_hosts: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}
    ports: tuple[PortBinding, ...] = ()
    exposed: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    service: str = ""
