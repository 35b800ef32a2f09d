"""This engine as a part of a cluster, as the API sees it: Docker's swarm verbs, and Towline's own status.

`cluster.swarm` implements it; `NoCluster` stands in its place while an engine is built without one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from towline.model.cluster import ClusterStatus, HostInterface, NetworkPeer, NodeSpec, NodeStatus, Swarm, SwarmState
from towline.model.errors import Unavailable
from towline.model.network import SubnetStatus
from towline.model.requests import CreateService, InitSwarm, JoinSwarm, RestoreCluster, UpdateService, UpdateSwarm
from towline.model.service import Service, ServiceStatus
from towline.policy import swarm as policy


class ClusterEngine(Protocol):
    """Verbs that need a manager raise `policy.swarm.not_a_manager(state)` where this node is none that works.

    Docker's texts and checks are pure, in policy: `swarm` (init, join, leave), `swarm_spec`, `swarm_nodes`.
    """

    @property
    def state(self) -> SwarmState:
        """From memory; never waits, never raises."""
        ...

    def peers(self, network_id: str) -> Sequence[NetworkPeer]:
        """Nodes with endpoints on a global network that has some here, this one included; empty otherwise. From memory;
        cheap on a network with none."""
        ...

    def subnet_status(self, network_id: str) -> Mapping[str, SubnetStatus]:
        """Docker's counters by subnet of a global network, on a manager; else empty. From memory."""
        ...

    async def init_swarm(self, request: InitSwarm) -> str:
        """Make a cluster; the id of this node. In order: Unavailable(SWARM_EXISTS) unless force_new_cluster, then
        `policy.swarm.resolve_init`."""
        ...

    async def join_swarm(self, request: JoinSwarm) -> None:
        """Unavailable(SWARM_EXISTS), then `policy.swarm.resolve_join`; Unavailable(JOIN_TIMEOUT) after 20 s: it goes on
        in the background."""
        ...

    async def backup_cluster(self) -> bytes:
        """Everything that the cluster is, secrets too; read with a quorum. On a manager."""
        ...

    async def restore_cluster(self, request: RestoreCluster, backup: bytes) -> str:
        """Go on with the cluster of a backup, on this node as its only manager; the node's id. InvalidParameter for
        what is no backup, Conflict if this node is in another cluster, or a manager that works (unless force)."""
        ...

    async def set_managers(self, addresses: Sequence[str]) -> None:
        """Where this node looks for managers from now on: hosts with optional ports. Unavailable(NO_SWARM),
        InvalidParameter."""
        ...

    async def leave_swarm(self, *, force: bool) -> None:
        """Unavailable(NO_SWARM), then `policy.swarm.check_leave` unless force."""
        ...

    async def swarm(self) -> Swarm: ...
    async def update_swarm(self, request: UpdateSwarm) -> None:
        """`policy.swarm_spec.updated` makes the new spec; Failure(OUT_OF_SEQUENCE) if the index is another one."""
        ...

    async def unlock_swarm(self, key: str) -> None:
        """Conflict(NOT_LOCKED) on a manager that works."""
        ...

    async def unlock_key(self) -> str:
        """ "" without autolock."""
        ...

    async def nodes(self) -> Sequence[NodeStatus]:
        """All there are, as a manager knows them after the last change that it has answered."""
        ...

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        """`policy.swarm_nodes.check_update`; Failure(OUT_OF_SEQUENCE) if its index is another one. Promotion and
        demotion go on after the answer."""
        ...

    async def remove_node(self, node_id: str, *, force: bool) -> None:
        """`policy.swarm_nodes.check_removal`."""
        ...

    async def services(self) -> Sequence[ServiceStatus]:
        """All there are, with their running members, in the order in which they became known."""
        ...

    async def create_service(self, request: CreateService) -> Service:
        """Networks by their ids. Errors of `policy.service` and `plan.service`; known on this node when it returns."""
        ...

    async def update_service(self, service_id: str, request: UpdateService) -> Service: ...
    async def remove_service(self, service_id: str, *, force: bool) -> None:
        """NotFound; Conflict while it has running members, unless forced."""
        ...

    async def cluster_status(self) -> ClusterStatus:
        """On any node of a cluster, also while it is cut off; Unavailable if it is in none."""
        ...

    async def rotate_key(self) -> None:
        """This node begins to use a new key for encrypted networks. Unavailable if it has none, or changes it."""
        ...


class NoCluster:
    """An engine outside of any cluster. interfaces: those of the host, read when an address must be chosen."""

    def __init__(self, interfaces: Callable[[], Awaitable[Sequence[HostInterface]]]) -> None:
        self._interfaces = interfaces

    @property
    def state(self) -> SwarmState:
        return SwarmState()

    def peers(self, network_id: str) -> Sequence[NetworkPeer]:
        return ()

    def subnet_status(self, network_id: str) -> Mapping[str, SubnetStatus]:
        return {}

    async def init_swarm(self, request: InitSwarm) -> str:
        policy.resolve_init(request, await self._interfaces())
        raise _none()

    async def join_swarm(self, request: JoinSwarm) -> None:
        policy.resolve_join(request, await self._interfaces())
        raise _none()

    async def backup_cluster(self) -> bytes:
        raise policy.not_a_manager(self.state)

    async def restore_cluster(self, request: RestoreCluster, backup: bytes) -> str:
        raise _none()

    async def set_managers(self, addresses: Sequence[str]) -> None:
        raise Unavailable(policy.NO_SWARM)

    async def leave_swarm(self, *, force: bool) -> None:
        raise Unavailable(policy.NO_SWARM)

    async def swarm(self) -> Swarm:
        raise policy.not_a_manager(self.state)

    async def update_swarm(self, request: UpdateSwarm) -> None:
        raise policy.not_a_manager(self.state)

    async def unlock_swarm(self, key: str) -> None:
        raise policy.not_a_manager(self.state)

    async def unlock_key(self) -> str:
        raise policy.not_a_manager(self.state)

    async def nodes(self) -> Sequence[NodeStatus]:
        raise policy.not_a_manager(self.state)

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        raise policy.not_a_manager(self.state)

    async def remove_node(self, node_id: str, *, force: bool) -> None:
        raise policy.not_a_manager(self.state)

    async def services(self) -> Sequence[ServiceStatus]:
        raise policy.not_a_manager(self.state)

    async def create_service(self, request: CreateService) -> Service:
        raise policy.not_a_manager(self.state)

    async def update_service(self, service_id: str, request: UpdateService) -> Service:
        raise policy.not_a_manager(self.state)

    async def remove_service(self, service_id: str, *, force: bool) -> None:
        raise policy.not_a_manager(self.state)

    async def cluster_status(self) -> ClusterStatus:
        raise Unavailable(policy.NO_SWARM)

    async def rotate_key(self) -> None:
        raise Unavailable(policy.NO_SWARM)


def _none() -> Unavailable:
    return Unavailable("this engine was built without a cluster: it can neither begin nor join one")
