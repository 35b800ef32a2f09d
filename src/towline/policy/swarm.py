"""Beginning, joining and leaving a cluster: checks in Docker's order, and its texts (moby daemon/cluster).

Sources: daemon/cluster/{swarm,errors,noderunner}.go; addresses are chosen in `policy.swarm_address`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import get_args

import msgspec

from towline.model.cluster import DATA_PATH_PORT, Availability, HostInterface, NodeStatus, SwarmState
from towline.model.errors import Failure, InvalidParameter, Unavailable
from towline.model.masked import Masked
from towline.model.requests import InitSwarm, JoinSwarm
from towline.policy.swarm_address import (
    HostPort,
    local_address,
    remote_address,
    resolve_advertise,
    resolve_data_path,
    resolve_listen,
)
from towline.policy.swarm_spec import Spec, initial

_NOT = "This node is not a swarm manager. "
NOT_IN_SWARM = _NOT + 'Use "docker swarm init" or "docker swarm join" to connect this node to swarm and try again.'
PREPARING = _NOT + "Manager is being prepared or has trouble connecting to the cluster."
WORKER = _NOT + (
    "Worker nodes can't be used to view or modify cluster state. "
    "Please run this command on a manager node or promote the current node to a manager."
)
NO_SWARM = "This node is not part of a swarm"
SWARM_EXISTS = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join another one.'
)
JOIN_TIMEOUT = (
    "Timeout was reached before node joined. The attempt to join the swarm will continue in the background. "
    'Use the "docker info" command to see the current swarm status of your node.'
)
LOCKED = (
    'Swarm is encrypted and needs to be unlocked before it can be used. Please use "docker swarm unlock" to unlock it.'
)
RESTORE_WORKS = (
    "this manager works, and a restore throws away whatever the cluster has become since the backup. If that is what "
    "you want, stop the daemons of the other managers and use --force"
)
CERTIFICATES_EXPIRED = "Swarm certificates have expired. To replace them, leave the swarm and join again."
NOT_LOCKED = "swarm is not locked"
OUT_OF_SEQUENCE = "rpc error: code = Unknown desc = update out of sequence"
_LEAVING = "You are attempting to leave the swarm on a node that is participating as a manager. "
_LAST = "Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message. "
_RESTORE = (
    "The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. "
    "Use `--force` to suppress this message."
)
_LARGEST_SUBNET_SIZE = 29
_DATA_PATH_PORTS = range(1024, 49152)
DEFAULT_POOLS = ("10.0.0.0/8",)
DEFAULT_SUBNET_SIZE = 24


class InitPlan(msgspec.Struct, frozen=True):
    """What `docker swarm init` comes to. listen.host may be unspecified (0.0.0.0, ::); local is not: at it
    this host reaches itself. data_path: bare address of the VTEP."""

    listen: HostPort
    advertise: HostPort
    local: str
    data_path: str
    data_path_port: int
    pools: tuple[str, ...]
    subnet_size: int
    availability: Availability
    spec: Spec


class JoinPlan(Masked, frozen=True):
    """advertise: None: the manager that is joined tells which address it sees. data_path "": the advertised one."""

    secret = frozenset({"token"})

    listen: HostPort
    advertise: HostPort | None
    data_path: str
    remotes: tuple[HostPort, ...]
    token: str
    availability: Availability


def not_a_manager(state: SwarmState) -> Unavailable:
    """Why this node cannot answer what only a manager can."""
    if state.state == "locked":
        return Unavailable(LOCKED)
    if state.state in ("inactive", "error"):
        return Unavailable(CERTIFICATES_EXPIRED if state.error == CERTIFICATES_EXPIRED else NOT_IN_SWARM)
    if not state.manager:
        return Unavailable(WORKER)
    return Unavailable(f"{PREPARING} ({state.error})" if state.error else PREPARING)


def resolve_init(request: InitSwarm, interfaces: Sequence[HostInterface], default_advertise: str = "") -> InitPlan:
    """InvalidParameter, or Failure where Docker answers 500, for the first check that fails. default_advertise: the
    daemon's own `--swarm-default-advertise-addr`, "" for none."""
    asked = _listen_text(request.listen_addr)
    spec = initial(request.spec, autolock=request.autolock)
    listen = resolve_listen(asked, interfaces)
    advertise = resolve_advertise(request.advertise_addr, listen.port, interfaces, default_advertise)
    data_path = resolve_data_path(request.data_path_addr, interfaces)
    local = local_address(listen.host, advertise.host, interfaces)
    return InitPlan(
        listen=listen,
        advertise=advertise,
        local=local,
        data_path=data_path or advertise.host,
        subnet_size=_check_pools(request.pools, request.subnet_size),
        pools=request.pools or DEFAULT_POOLS,
        data_path_port=_data_path_port(request.data_path_port),
        availability=_availability(request.availability),
        spec=spec,
    )


def resolve_join(request: JoinSwarm, interfaces: Sequence[HostInterface], default_advertise: str = "") -> JoinPlan:
    """As `resolve_init`. A bad advertise address is refused here; Docker goes on without one."""
    asked = _listen_text(request.listen_addr)
    if not request.remote_addrs:
        raise InvalidParameter("at least 1 RemoteAddr is required to join")
    remotes = tuple(remote_address(text) for text in request.remote_addrs)
    listen = resolve_listen(asked, interfaces)
    wanted = request.advertise_addr or default_advertise
    return JoinPlan(
        listen=listen,
        advertise=resolve_advertise(request.advertise_addr, listen.port, interfaces, default_advertise)
        if wanted
        else None,
        data_path=resolve_data_path(request.data_path_addr, interfaces),
        remotes=remotes,
        token=request.token,
        availability=_availability(request.availability),
    )


def check_leave(state: SwarmState, nodes: Sequence[NodeStatus]) -> None:
    """May this node leave without force? Unavailable with Docker's text if it is a manager. nodes: as this manager
    knows them; without meaning while it does not work."""
    if not state.manager:
        return
    if not state.control:
        raise Unavailable(_LEAVING + "Doing so may lose the consensus of your cluster. " + _RESTORE)
    managers = [status for status in nodes if status.node.manager_address]
    reachable = sum(status.reachable for status in managers)
    unreachable = len(managers) - reachable
    if reachable == 1 and not unreachable:
        raise Unavailable(_LEAVING + _LAST)
    text = _LEAVING
    if reachable - 2 <= unreachable:
        text += (
            f"Removing this node leaves {reachable - 1} managers out of {reachable + unreachable}. "
            "Without a Raft quorum your swarm will be inaccessible. "
        )
    raise Unavailable(text + _RESTORE)


def _listen_text(text: str) -> str:
    if not text:
        raise InvalidParameter('invalid ListenAddr "": invalid empty address')
    return text


def _check_pools(pools: tuple[str, ...], size: int) -> int:
    """The prefix length of automatic subnets (swarm.go validateDefaultAddrPool); pools are CIDR."""
    if not pools:
        return DEFAULT_SUBNET_SIZE
    size = size or DEFAULT_SUBNET_SIZE
    if size > _LARGEST_SUBNET_SIZE:
        raise Failure(f"subnet size is out of range: {size}")
    for pool in pools:
        network = ip_network(pool, strict=False)
        if network.version == 6:
            raise InvalidParameter(
                f"invalid base pool {pool}: automatic subnets are IPv4 ones; give IPv6 subnets with each network"
            )
        if size < network.prefixlen:
            raise Failure(f'invalid CIDR: "{pool}". Subnet size is too small for pool: {size}')
    return size


def _data_path_port(port: int) -> int:
    if not port:
        return DATA_PATH_PORT
    if port not in _DATA_PATH_PORTS:
        raise Failure(f"Datapath port number is not in valid range (1024-49151) : {port}")
    return port


def _availability(text: str) -> Availability:
    for known in get_args(Availability):
        if text.lower() == known:
            return known  # type: ignore[no-any-return]
    if text:
        raise Failure(f"invalid Availability: {msgspec.json.encode(text).decode()}")
    return "active"
