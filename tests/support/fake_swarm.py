"""A `ClusterEngine` without etcd and network: one node of real rules, and others as tests put them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from towline.cluster.state_networks import NetworkIndex
from towline.cluster.state_services import ServiceIndex
from towline.model.cluster import (
    Alive,
    Cluster,
    ClusterStatus,
    Description,
    HostInterface,
    NetworkPeer,
    Node,
    NodeSpec,
    NodeStatus,
    RemoteManager,
    Swarm,
    SwarmState,
)
from towline.model.errors import Conflict, Failure, InvalidParameter, Unavailable
from towline.model.network import SubnetStatus
from towline.model.requests import CreateService, InitSwarm, JoinSwarm, RestoreCluster, UpdateService, UpdateSwarm
from towline.model.service import Service, ServiceStatus
from towline.policy import swarm as policy
from towline.policy import swarm_nodes
from towline.policy.service import admit_service, admit_update, check_service_removal
from towline.policy.swarm_spec import updated

OWN_ID = "o" * 25
INTERFACES = (
    HostInterface("lo", True, ("127.0.0.1/8", "::1/128")),
    HostInterface("eth0", True, ("192.0.2.1/24", "2001:db8::1/64")),
)
_NOW = 1_764_000_000 * 10**9
_TOKEN = "SWMTKN-1-" + "a" * 50 + "-"

BACKUP = b"a backup"


class FakeSwarm:
    """fault: raised by the next verb. joined: what was to be joined. members: all nodes. seen: peers by network.
    offered: services; running: names of their members; networks: of the cluster."""

    def __init__(self, interfaces: Sequence[HostInterface] = INTERFACES) -> None:
        self.fault: Exception | None = None
        self.told: tuple[str, ...] = ()
        self.restored: RestoreCluster | None = None
        self.joined: list[policy.JoinPlan] = []
        self.members: dict[str, NodeStatus] = {}
        self.seen: dict[str, tuple[NetworkPeer, ...]] = {}
        self.state = SwarmState()
        self.revision = 10
        self.offered: dict[str, Service] = {}
        self.running: list[str] = []
        self.networks = NetworkIndex()
        self._interfaces = interfaces
        self._tokens = {"worker": "1", "manager": "2"}

    def put(self, status: NodeStatus) -> None:
        self.members[status.node.id] = status
        self._count()

    def become(self, state: SwarmState) -> None:
        self.state = state

    def subnet_status(self, network_id: str) -> Mapping[str, SubnetStatus]:
        return {}

    def peers(self, network_id: str) -> Sequence[NetworkPeer]:
        return self.seen.get(network_id, ())

    async def init_swarm(self, request: InitSwarm) -> str:
        self._fail()
        if self.state.state != "inactive" and not request.force_new_cluster:
            raise Unavailable(policy.SWARM_EXISTS)
        plan = policy.resolve_init(request, self._interfaces)
        cluster = Cluster(
            id="c" * 25,
            created=_NOW,
            spec=plan.spec,
            ca=root_certificate(),
            pools=plan.pools,
            subnet_size=plan.subnet_size,
            data_path_port=plan.data_path_port,
            index=self.revision,
        )
        self.state = SwarmState(
            state="active",
            node_id=OWN_ID,
            address=plan.advertise.host,
            manager=True,
            control=True,
            managers=(RemoteManager(OWN_ID, str(plan.advertise)),),
            cluster=cluster,
        )
        spec = NodeSpec(role="manager", availability=plan.availability)
        self.put(member(OWN_ID, "here", spec, address=plan.advertise.host, manager_address=str(plan.advertise)))
        return OWN_ID

    async def join_swarm(self, request: JoinSwarm) -> None:
        self._fail()
        if self.state.state != "inactive":
            raise Unavailable(policy.SWARM_EXISTS)
        self.joined.append(policy.resolve_join(request, self._interfaces))
        self.state = SwarmState(state="active", node_id=OWN_ID, address="192.0.2.1")

    async def leave_swarm(self, *, force: bool) -> None:
        self._fail()
        if self.state.state == "inactive":
            raise Unavailable(policy.NO_SWARM)
        if not force:
            policy.check_leave(self.state, list(self.members.values()))
        self.state = SwarmState()
        self.members.clear()

    async def swarm(self) -> Swarm:
        cluster = self._cluster()
        return Swarm(cluster, *(_TOKEN + self._tokens[role] * 25 for role in ("worker", "manager")))

    async def update_swarm(self, request: UpdateSwarm) -> None:
        cluster = self._cluster()
        spec = updated(request.spec)
        if request.version != cluster.index:
            raise Failure(policy.OUT_OF_SEQUENCE)
        self.revision += 1
        for role, rotate in (("worker", request.rotate_worker_token), ("manager", request.rotate_manager_token)):
            if rotate:
                self._tokens[role] = str((int(self._tokens[role]) + 2) % 10)
        self.state = replace(self.state, cluster=replace(cluster, spec=spec, index=self.revision))

    async def unlock_swarm(self, key: str) -> None:
        self._cluster()
        raise Conflict(policy.NOT_LOCKED)

    async def unlock_key(self) -> str:
        self._cluster()
        return ""

    async def nodes(self) -> Sequence[NodeStatus]:
        self._cluster()
        return list(self.members.values())

    async def update_node(self, node_id: str, version: int, spec: NodeSpec) -> None:
        self._cluster()
        swarm_nodes.check_update(list(self.members.values()), node_id, spec)
        status = self.members[node_id]
        if status.node.index != version:
            raise Failure(policy.OUT_OF_SEQUENCE)
        self.revision += 1
        self.put(replace(status, node=replace(status.node, spec=spec, index=self.revision)))

    async def remove_node(self, node_id: str, *, force: bool) -> None:
        self._cluster()
        swarm_nodes.check_removal(list(self.members.values()), node_id, force=force)
        del self.members[node_id]
        self._count()

    async def services(self) -> Sequence[ServiceStatus]:
        self._cluster()
        return [ServiceStatus(service) for service in self.offered.values()]

    async def create_service(self, request: CreateService) -> Service:
        self._cluster()
        self.revision += 1
        made = replace(
            admit_service(request, self.networks, self._index()),
            id=f"{self.revision:025}",
            created=_NOW,
            index=self.revision,
        )
        self.offered[made.id] = made
        return made

    async def update_service(self, service_id: str, request: UpdateService) -> Service:
        self._cluster()
        self.revision += 1
        made = replace(
            admit_update(request, self.offered[service_id], self.networks, self._index()), index=self.revision
        )
        self.offered[service_id] = made
        return made

    async def remove_service(self, service_id: str, *, force: bool) -> None:
        self._cluster()
        check_service_removal(self.offered[service_id], self.running, force=force)
        del self.offered[service_id]

    async def set_managers(self, addresses: Sequence[str]) -> None:
        self._fail()
        if self.state.state == "inactive":
            raise Unavailable(policy.NO_SWARM)
        self.told = tuple(addresses)

    async def backup_cluster(self) -> bytes:
        self._cluster()
        return BACKUP

    async def restore_cluster(self, request: RestoreCluster, backup: bytes) -> str:
        self._fail()
        if backup != BACKUP:
            raise InvalidParameter("this is no backup of a cluster")
        self.restored = request
        return "n" * 25

    async def cluster_status(self) -> ClusterStatus:
        self._fail()
        if self.state.state == "inactive":
            raise Unavailable(policy.NO_SWARM)
        return ClusterStatus(self.revision, tuple(self.members.values()), silence=0.5, cluster="c" * 25)

    def _index(self) -> ServiceIndex:
        index = ServiceIndex()
        for service in self.offered.values():
            index.put(service)
        return index

    def _cluster(self) -> Cluster:
        self._fail()
        if not self.state.control or self.state.cluster is None:
            raise policy.not_a_manager(self.state)
        return self.state.cluster

    def _count(self) -> None:
        managers = sum(bool(status.node.manager_address) for status in self.members.values())
        self.state = replace(self.state, nodes=len(self.members), manager_count=managers)

    def _fail(self) -> None:
        fault, self.fault = self.fault, None
        if fault is not None:
            raise fault


def member(
    node_id: str, hostname: str, spec: NodeSpec | None = None, *, address: str = "192.0.2.2", manager_address: str = ""
) -> NodeStatus:
    """A node that is well."""
    node = Node(
        id=node_id,
        created=_NOW,
        spec=spec or NodeSpec(),
        description=Description(
            hostname,
            "x86_64",
            "linux",
            2 * 10**9,
            2**34,
            "1.2.3",
            ("overlay", "bridge", "host", "ipvlan", "macvlan", "null"),
        ),
        address=address,
        data_path=address,
        manager_address=manager_address,
        index=9,
    )
    manages = bool(manager_address)
    return NodeStatus(node, "ready", leader=manages, reachable=manages, alive=Alive(node_id, revision=10))


def root_certificate() -> str:
    """PEM of a root as swarmkit makes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-ca")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, begin, begin + timedelta(days=7300))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
