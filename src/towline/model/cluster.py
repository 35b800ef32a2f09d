"""Records of a cluster: itself, its nodes, and what nodes tell each other of endpoints and addresses.

Ids of the cluster, of nodes and of global networks are 25 digits of base 36, as Docker's (swarmkit identity).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from towline.model.masked import Masked
from towline.model.secure import SecureKey

Role = Literal["worker", "manager"]
Availability = Literal["active", "pause", "drain"]
FIRST_VNI = 4096
DATA_PATH_PORT = 4789
LISTEN_PORT = 2377


class NodeSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operator decides of a node. role: wanted; what it is, its certificate says."""

    role: Role = "worker"
    availability: Availability = "active"
    name: str = ""
    labels: dict[str, str] = {}


class Description(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node says of itself. memory: bytes."""

    hostname: str = ""
    architecture: str = ""
    os: str = "linux"
    nano_cpus: int = 0
    memory: int = 0
    engine_version: str = ""
    network_drivers: tuple[str, ...] = ()


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """created, updated: nanoseconds since the epoch. address: bare IP by which managers see it. data_path: bare IP of
    its VTEP. manager_address: host:port of its node API while it is a manager, else "". index: revision of its last
    change. secure: its WireGuard keys, the one to send to first; () if it cannot encrypt.
    """

    id: str
    created: int
    updated: int = 0
    spec: NodeSpec = NodeSpec()
    description: Description = Description()
    address: str = ""
    data_path: str = ""
    manager_address: str = ""
    index: int = 0
    secure: tuple[SecureKey, ...] = ()


class Alive(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node's last report; it vanishes with the node's lease. revision: of the cluster, applied there. clock: its
    clock when it reported, nanoseconds; skew: its clock less the middle of the managers', seconds. repairs: rows and
    links set right."""

    node: str
    revision: int = 0
    clock: int = 0
    skew: float = 0.0
    repairs: int = 0
    problem: str = ""


class Cluster(msgspec.Struct, frozen=True, omit_defaults=True):
    """spec: Docker's Spec as sent, with defaults filled in. ca: certificate of the root, PEM. pools: CIDR.

    era: rises each time that something of the cluster's past is lost: a backup was put back, or one manager went on
    alone. Seconds since the epoch of that, 0: never. Nodes do not listen to managers of an earlier one.
    """

    id: str
    created: int
    updated: int = 0
    spec: dict[str, object] = {}
    ca: str = ""
    pools: tuple[str, ...] = ("10.0.0.0/8",)
    subnet_size: int = 24
    data_path_port: int = DATA_PATH_PORT
    index: int = 0
    era: int = 0


class Secrets(Masked, frozen=True):
    """Never leaves the managers. Keys and certificates: PEM. Tokens in full, as `docker swarm join-token` shows them.
    etcd_ca: the root of the managers' etcd members."""

    secret = frozenset({"ca_key", "worker_token", "manager_token", "etcd_ca_key"})

    ca_key: str
    worker_token: str
    manager_token: str
    etcd_ca: str = ""
    etcd_ca_key: str = ""


class Peer(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint on a global network as the other nodes know it.

    id: of the endpoint. ipv4, ipv6: CIDR or "". vtep: bare address of the node's data path. epoch: counts moves.
    service: id of the service that it is a member of, "" for none.
    """

    id: str
    network: str
    node: str
    vtep: str
    mac: str
    sandbox: str = ""
    name: str = ""
    ipv4: str = ""
    ipv6: str = ""
    dns_names: tuple[str, ...] = ()
    epoch: int = 1
    service: str = ""


class Block(msgspec.Struct, frozen=True, omit_defaults=True):
    """Part of a subnet, leased to a node: it alone hands out addresses of it. prefix: CIDR; subnet: the pool's.
    service: of a virtual address, the id of whose it is; it is one address then, and no node's (node "")."""

    network: str
    subnet: str
    prefix: str
    node: str
    epoch: int = 1
    service: str = ""

    @property
    def id(self) -> str:
        return f"{self.network}/{self.prefix}"


class Underlay(msgspec.Struct, frozen=True):
    """Where this node sends and receives VXLAN: its own address, the UDP port, and the MTU of the uplink (bytes).
    secure: the cluster's prefix of tunnel addresses for encrypted networks (`model.secure`), CIDR; "" not known."""

    local: str
    port: int = DATA_PATH_PORT
    mtu: int = 1500
    secure: str = ""


# what an engine says of itself as a part of a cluster, and of the others

LocalState = Literal["inactive", "pending", "active", "error", "locked"]
Liveness = Literal["unknown", "down", "ready", "disconnected"]


class RemoteManager(msgspec.Struct, frozen=True):
    """address: host:port of its node API."""

    node: str
    address: str


class SwarmState(msgspec.Struct, frozen=True):
    """What this node is, from memory. address: bare IP that it advertises. manager: by its certificate. control: it is
    a manager that works.

    nodes, manager_count, cluster: known on such a manager only, else 0 and None.
    """

    state: LocalState = "inactive"
    node_id: str = ""
    address: str = ""
    manager: bool = False
    control: bool = False
    error: str = ""
    managers: tuple[RemoteManager, ...] = ()
    nodes: int = 0
    manager_count: int = 0
    cluster: Cluster | None = None
    warnings: tuple[str, ...] = ()


class Swarm(Masked, frozen=True):
    """A cluster with its join tokens in full. rotating: the root certificate is being exchanged."""

    secret = frozenset({"worker_token", "manager_token"})

    cluster: Cluster
    worker_token: str
    manager_token: str
    rotating: bool = False


class NodeStatus(msgspec.Struct, frozen=True):
    """A node as the cluster sees it now. leader, reachable: of a manager (it has a manager_address). alive: its last
    report, None when its lease has ended."""

    node: Node
    state: Liveness = "unknown"
    message: str = ""
    leader: bool = False
    reachable: bool = False
    alive: Alive | None = None


class ClusterStatus(msgspec.Struct, frozen=True):
    """How the cluster is, as this node knows it. cluster: its id. revision: of the cluster, as far as it is known here.
    silence: seconds since a manager answered this node, None if none has."""

    revision: int
    nodes: tuple[NodeStatus, ...]
    silence: float | None = None
    cluster: str = ""


class NetworkPeer(msgspec.Struct, frozen=True):
    """A node that has endpoints on a network. name: 12 digits of its id; address: bare, of its VTEP."""

    name: str
    address: str


class HostInterface(msgspec.Struct, frozen=True):
    """An interface of the host, as addresses are chosen from. kind: the kernel's ("bridge", "veth"), "" for a device.
    addresses: CIDR with host part. own: this engine made it."""

    name: str
    up: bool
    addresses: tuple[str, ...]
    kind: str = ""
    own: bool = False
