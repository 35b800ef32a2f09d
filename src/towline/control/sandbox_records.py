"""A new sandbox's record, what its process is started with, and what is said when its network fails."""

from __future__ import annotations

import time

from towline.control.collaborators import Runtime
from towline.model.errors import Failure
from towline.model.requests import CreateSandbox, StartedSandbox
from towline.model.sandbox import Sandbox
from towline.model.view import View
from towline.runtime.check import complete_environment
from towline.runtime.launch import Launch
from towline.runtime.lookup import UNKNOWN, Exit


def attached_path(request: CreateSandbox) -> str:
    """The namespace that it wants to join; "" for one of its own."""
    if request.process is not None:
        return f"/proc/{request.process.pid}/ns/net"
    return request.netns


def new_record(request: CreateSandbox, sandbox_id: str, attached: str, service: str = "") -> Sandbox:
    """attached: path of the namespace that it joins, or "". service: id of the one that it is a member of."""
    now = time.time_ns()
    return Sandbox(
        id=sandbox_id,
        name=request.name or sandbox_id[:12],
        created=now,
        origin="attach" if attached else "run",
        state="running" if attached else "created",
        started=now if attached else 0,
        netns=attached,
        process=request.process,
        mode=next(iter(request.networks), "bridge"),
        hostname=request.hostname or sandbox_id[:12],
        command=request.command,
        environment=request.environment,
        directory=request.directory,
        restart=request.restart,
        auto_remove=request.auto_remove,
        dns=request.dns,
        extra_hosts=request.extra_hosts,
        sysctls=request.sysctls,
        ports=request.ports,
        exposed=request.exposed,
        labels=request.labels,
        service=service,
    )


def launch_of(sandbox: Sandbox, files: StartedSandbox, runtime: Runtime) -> Launch:
    return Launch(
        sandbox=sandbox.id,
        netns=files.netns,
        hostname=sandbox.hostname,
        command=sandbox.command,
        environment=complete_environment(sandbox.environment, sandbox.hostname),
        directory=sandbox.directory,
        sysctls=tuple(sandbox.sysctls.items()),
        files=(
            (files.hosts, "/etc/hosts"),
            (files.resolv_conf, "/etc/resolv.conf"),
            (files.hostname, "/etc/hostname"),
        ),
        state=runtime.state(sandbox.id),
        log=runtime.log(sandbox.id),
    )


def networking_failed(sandbox: Sandbox, view: View, error: Failure) -> Failure:
    """Docker's words around a refused port (docker-api facts 5.2)."""
    first = next(iter(view.endpoints_in(sandbox.id)), None)
    endpoint = f"{sandbox.name} ({first.id})" if first else sandbox.name
    return Failure(
        "failed to set up container networking: driver failed programming external connectivity on endpoint "
        f"{endpoint}: {error}"
    )


def unseen_end() -> Exit:
    """Of a process or a namespace whose end nobody saw."""
    return Exit(code=UNKNOWN, finished=time.time_ns(), recorded=False)
