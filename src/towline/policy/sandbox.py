"""Admission of a sandbox: is everything in the request sound, and on which networks will it be?

Texts: moby daemon/names.go, daemon/container.go, api/types/container/hostconfig.go, docker/cli opts; docker-api facts
1.5, 3.1, 3.2.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from msgspec.structs import replace

from towline.model.endpoint import ANYTHING, EndpointConfig
from towline.model.errors import Conflict, Failure, InvalidParameter, NotFound
from towline.model.network import Network
from towline.model.requests import CreateSandbox
from towline.model.sandbox import Sandbox
from towline.model.service import Service
from towline.model.view import View
from towline.policy.endpoint import (
    HOST,
    NONE,
    ONLY_HOST,
    ONLY_NONE,
    SHARED,
    check_joinable,
    check_settings,
    check_unique,
)
from towline.policy.resolve import for_connect
from towline.policy.sandbox_files import check_dns, split_extra_host
from towline.policy.service_terms import find_service
from towline.policy.texts import LONGEST_NAME, check_no_nul, is_hostname, shown
from towline.runtime.policy import parse_restart

DEFAULT_NETWORK = "bridge"

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", re.ASCII)
_SYSCTL = re.compile(r"net(?:\.[a-zA-Z0-9_/-]+)+", re.ASCII)

Joined = tuple[tuple[Network, EndpointConfig], ...]
"""Networks in the order of the request, each once, and what is asked of each."""


class Admitted(NamedTuple):
    """request: with its networks filled in and its extra hosts in the form NAME:ADDRESS; an empty name or hostname is
    still to be made."""

    request: CreateSandbox
    networks: Joined
    service: Service | None = None


def admit_sandbox(request: CreateSandbox, view: View) -> Admitted:
    """InvalidParameter, NotFound, Forbidden or Conflict for the first rule that fails. Whether addresses and host ports
    are free is for those to say who hand them out.
    """
    _check_name(request.name, view)
    _check_process(request)
    if request.hostname and not is_hostname(request.hostname):
        raise InvalidParameter(
            f"invalid hostname format: {shown(request.hostname)}: letters, digits, '-' and '_' in parts between dots, "
            "at most 63 bytes"
        )
    check_dns(request.dns)
    extra_hosts = tuple(":".join(split_extra_host(entry)) for entry in request.extra_hosts)
    _check_restart(request)
    service = find_service(view, request.service) if request.service else None
    networks = _resolve(request, view, service)
    _check_alone(request, networks)
    _check_sysctls(request, networks)
    if request.ports and (alone := _alone(networks)):
        raise InvalidParameter(
            f"conflicting options: port publishing and the network {alone}: nothing can be published there; "
            "leave the ports out, or choose another network"
        )
    asked = {network.name: config for network, config in networks} if service is not None else _asked(request)
    return Admitted(replace(request, networks=asked, extra_hosts=extra_hosts), networks, service)


def find_sandbox(view: View, term: str) -> Sandbox:
    """By full id, name, or unique prefix of an id, in this order. NotFound, also for the routing mesh's own, which is
    none of a client's; InvalidParameter if it is ambiguous."""
    if not term:
        raise InvalidParameter('invalid name or ID supplied: ""')
    name = term.removeprefix("/")
    found = view.sandbox(term) or view.sandbox_named(name)
    if found is not None and found.origin != "mesh":
        return found
    matches = [s for s in view.sandboxes() if s.id.startswith(term) and s.origin != "mesh"]
    if len(matches) > 1:
        raise InvalidParameter(f"multiple IDs found with provided prefix: {term}")
    if not matches:
        raise NotFound(f"No such container: {term}")
    return matches[0]


def _check_name(name: str, view: View) -> None:
    if not name:
        return
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise InvalidParameter(
            f"Invalid container name ({shown(name)[1:-1]}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed, "
            f"2 to {LONGEST_NAME} of them"
        )
    if (holder := view.sandbox_named(name)) is not None:
        raise Conflict(
            f'Conflict. The container name "/{name}" is already in use by container "{holder.id}". '
            "You have to remove (or rename) that container to be able to reuse that name."
        )


def _check_process(request: CreateSandbox) -> None:
    for argument in request.command:
        check_no_nul("argument", argument)
    for variable in request.environment:
        check_no_nul("environment variable", variable)
        if not variable.partition("=")[0] or "=" not in variable:
            raise InvalidParameter(f"invalid environment variable: {shown(variable)}: write NAME=VALUE")
    check_no_nul("working directory", request.directory)
    if not request.directory.startswith("/"):
        raise InvalidParameter(
            f"the working directory {shown(request.directory)} is invalid, it needs to be an absolute path"
        )
    if request.netns and request.process is not None:
        raise InvalidParameter("attach: name either a network namespace or a process, not both")
    check_no_nul("network namespace", request.netns)
    if request.netns and not request.netns.startswith("/"):
        raise InvalidParameter(f"network namespace {shown(request.netns)}: it needs to be an absolute path")


def _check_restart(request: CreateSandbox) -> None:
    restarts = parse_restart(request.restart).kind != "no"
    if restarts and request.auto_remove:
        raise InvalidParameter("can't create 'AutoRemove' container with restart policy")
    if restarts and _is_attached(request):
        raise InvalidParameter("conflicting options: a restart policy and attaching: its process is not ours to start")


def _asked(request: CreateSandbox) -> dict[str, EndpointConfig]:
    return request.networks or {DEFAULT_NETWORK: ANYTHING}


def _resolve(request: CreateSandbox, view: View, service: Service | None) -> Joined:
    """Those that are named, and after them the others that its service is on."""
    found: dict[str, tuple[Network, EndpointConfig]] = {}
    asked = request.networks if service is not None and service.networks else _asked(request)
    for term, config in asked.items():
        network = for_connect(view, term)
        if network.id in found:
            raise InvalidParameter(f"network {network.name} is named twice: name it once, with all its settings")
        try:
            check_settings(config, network)
        except InvalidParameter as refusal:
            raise InvalidParameter(f"invalid config for network {term}: {refusal}") from None
        try:
            check_joinable(network, service)
        except Failure as refusal:
            raise Failure(f"failed to set up container networking: {refusal}") from None
        check_unique(view, Sandbox(id="", name=request.name, created=0), network, config)
        found[network.id] = (network, config)
    for network_id in service.networks if service is not None else ():
        if network_id not in found:
            found[network_id] = (_of_service(view, network_id, service), ANYTHING)
    return tuple(found.values())


def _of_service(view: View, network_id: str, service: Service | None) -> Network:
    network = for_connect(view, network_id)
    try:
        check_joinable(network, service)
    except Failure as refusal:
        raise Failure(f"failed to set up container networking: {refusal}") from None
    return network


def _alone(networks: Joined) -> str:
    """Name of the network that bears no other beside it, "" if there is none."""
    return next((network.name for network, _ in networks if network.driver in (HOST, NONE)), "")


def _check_alone(request: CreateSandbox, networks: Joined) -> None:
    drivers = [network.driver for network, _ in networks]
    if HOST in drivers and _is_attached(request):
        raise InvalidParameter(ONLY_HOST)
    if len(drivers) > 1 and HOST in drivers:
        raise InvalidParameter(SHARED)
    if len(drivers) > 1 and NONE in drivers:
        raise InvalidParameter(ONLY_NONE)


def _check_sysctls(request: CreateSandbox, networks: Joined) -> None:
    for name, value in request.sysctls.items():
        if not _SYSCTL.fullmatch(name) or "//" in name:
            raise InvalidParameter(f"sysctl {shown(name)} is not allowed: only those of a network namespace are, net.*")
        if not value.isprintable():
            raise InvalidParameter(f"sysctl {name}: its value holds a line break or another control character")
        if any(network.driver == HOST for network, _ in networks):
            raise InvalidParameter(f'sysctl "{name}" not allowed in host network namespace')
        if _is_attached(request):
            raise InvalidParameter(f"sysctl {name}: a namespace that is attached keeps its own; leave it out")


def _is_attached(request: CreateSandbox) -> bool:
    return bool(request.netns) or request.process is not None
