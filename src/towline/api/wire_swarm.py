"""A cluster as Docker's API has it, in and out (moby api/types/swarm/swarm.go)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from towline.api.goaddr import BadAddress, parse_prefix
from towline.api.gojson.decode import BOOL, DURATION, INT, INT64, STRING, UINT32, UINT64, Map, Slice, Struct, Text
from towline.api.versions import Version
from towline.api.wire_out import rfc3339_nano
from towline.model.cluster import Cluster, Swarm, SwarmState
from towline.model.errors import InvalidParameter
from towline.model.masked import Masked
from towline.model.requests import InitSwarm, JoinSwarm

_POOLS_SINCE: Version = (1, 39)
_DATA_PATH_PORT_SINCE: Version = (1, 40)

_STRINGS = Map(STRING)
_SPEC: dict[str, Any] = {
    "Name": STRING,
    "Labels": _STRINGS,
    "Orchestration": Struct("swarm.OrchestrationConfig", {"TaskHistoryRetentionLimit": INT64}),
    "Raft": Struct(
        "swarm.RaftConfig",
        {
            "SnapshotInterval": UINT64,
            "KeepOldSnapshots": UINT64,
            "LogEntriesForSlowFollowers": UINT64,
            "ElectionTick": INT,
            "HeartbeatTick": INT,
        },
    ),
    "Dispatcher": Struct("swarm.DispatcherConfig", {"HeartbeatPeriod": DURATION}),
    "CAConfig": Struct(
        "swarm.CAConfig",
        {
            "NodeCertExpiry": DURATION,
            "ExternalCAs": Slice(
                Struct("swarm.ExternalCA", {"Protocol": STRING, "URL": STRING, "Options": _STRINGS, "CACert": STRING})
            ),
            "SigningCACert": STRING,
            "SigningCAKey": STRING,
            "ForceRotate": UINT64,
        },
    ),
    "TaskDefaults": Struct(
        "swarm.TaskDefaults", {"LogDriver": Struct("swarm.Driver", {"Name": STRING, "Options": _STRINGS})}
    ),
    "EncryptionConfig": Struct("swarm.EncryptionConfig", {"AutoLockManagers": BOOL}),
}
GO_SPEC = Struct("swarm.Spec", _SPEC)
GO_INIT = Struct(
    "swarm.InitRequest",
    {
        "ListenAddr": STRING,
        "AdvertiseAddr": STRING,
        "DataPathAddr": STRING,
        "DataPathPort": UINT32,
        "ForceNewCluster": BOOL,
        "Spec": GO_SPEC,
        "AutoLockManagers": BOOL,
        "Availability": STRING,
        "DefaultAddrPool": Slice(Text("netip.Prefix", parse_prefix)),
        "SubnetSize": UINT32,
    },
)
GO_JOIN = Struct(
    "swarm.JoinRequest",
    {
        "ListenAddr": STRING,
        "AdvertiseAddr": STRING,
        "DataPathAddr": STRING,
        "RemoteAddrs": Slice(STRING),
        "JoinToken": STRING,
        "Availability": STRING,
    },
)
GO_UNLOCK = Struct("swarm.UnlockRequest", {"UnlockKey": STRING})


class InitRequest(msgspec.Struct, frozen=True, rename="pascal"):
    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    data_path_port: int = 0
    force_new_cluster: bool = False
    spec: dict[str, Any] = {}
    auto_lock_managers: bool = False
    availability: str = ""
    default_addr_pool: tuple[str, ...] | None = None
    subnet_size: int = 0


class JoinRequest(Masked, frozen=True, rename="pascal"):
    secret = frozenset({"join_token"})

    listen_addr: str = ""
    advertise_addr: str = ""
    data_path_addr: str = ""
    remote_addrs: tuple[str, ...] | None = None
    join_token: str = ""
    availability: str = ""


class SpecRequest(msgspec.Struct, frozen=True):
    """Docker's Spec: of every part the members that were sent."""

    name: str = msgspec.field(default="", name="Name")
    labels: dict[str, str] | None = msgspec.field(default=None, name="Labels")
    orchestration: dict[str, Any] | None = msgspec.field(default=None, name="Orchestration")
    raft: dict[str, Any] | None = msgspec.field(default=None, name="Raft")
    dispatcher: dict[str, Any] | None = msgspec.field(default=None, name="Dispatcher")
    ca_config: dict[str, Any] | None = msgspec.field(default=None, name="CAConfig")
    encryption: dict[str, Any] | None = msgspec.field(default=None, name="EncryptionConfig")

    def members(self) -> dict[str, object]:
        """Docker's names -> values."""
        return {key: value for key, value in msgspec.to_builtins(self).items() if value is not None}


class UnlockRequest(Masked, frozen=True, rename="pascal"):
    secret = frozenset({"unlock_key"})

    unlock_key: str = ""


def init_swarm(body: InitRequest, version: Version) -> InitSwarm:
    """Pools and subnet size are heard from API 1.39 on, the data path's port from 1.40 on."""
    pools = body.default_addr_pool if version >= _POOLS_SINCE else None
    try:
        parsed = tuple(map(parse_prefix, pools or ()))
    except BadAddress as error:
        raise InvalidParameter(f"invalid JSON: {error}") from None
    if "" in parsed:
        raise InvalidParameter("invalid JSON: netip.ParsePrefix(\"\"): no '/'")
    return InitSwarm(
        listen_addr=body.listen_addr,
        advertise_addr=body.advertise_addr,
        data_path_addr=body.data_path_addr,
        data_path_port=body.data_path_port if version >= _DATA_PATH_PORT_SINCE else 0,
        pools=parsed,
        subnet_size=body.subnet_size if version >= _POOLS_SINCE else 0,
        force_new_cluster=body.force_new_cluster,
        autolock=body.auto_lock_managers,
        availability=body.availability,
        spec=body.spec,
    )


def join_swarm(body: JoinRequest) -> JoinSwarm:
    return JoinSwarm(
        listen_addr=body.listen_addr,
        advertise_addr=body.advertise_addr,
        data_path_addr=body.data_path_addr,
        remote_addrs=body.remote_addrs or (),
        token=body.join_token,
        availability=body.availability,
    )


def swarm(found: Swarm) -> dict[str, Any]:
    """GET /swarm."""
    tokens = {"Worker": found.worker_token, "Manager": found.manager_token}
    return {**cluster(found.cluster, rotating=found.rotating), "JoinTokens": tokens}


def cluster(found: Cluster, *, rotating: bool = False) -> dict[str, Any]:
    """Docker's ClusterInfo."""
    return {
        "ID": found.id,
        "Version": {"Index": found.index},
        "CreatedAt": rfc3339_nano(found.created),
        "UpdatedAt": rfc3339_nano(found.updated or found.created),
        "Spec": found.spec,
        "TLSInfo": tls_info(found.ca),
        "RootRotationInProgress": rotating,
        "DefaultAddrPool": list(found.pools),
        "SubnetSize": found.subnet_size,
        "DataPathPort": found.data_path_port,
    }


def info(state: SwarmState) -> dict[str, Any]:
    """The Swarm member of GET /info."""
    managers = [{"NodeID": manager.node, "Addr": manager.address} for manager in state.managers]
    shown: dict[str, Any] = {
        "NodeID": state.node_id,
        "NodeAddr": state.address,
        "LocalNodeState": state.state,
        "ControlAvailable": state.control,
        "Error": state.error,
        "RemoteManagers": managers or None,
    }
    more = {
        "Nodes": state.nodes,
        "Managers": state.manager_count,
        "Cluster": None if state.cluster is None else cluster(state.cluster),
        "Warnings": list(state.warnings),
    }
    return shown | {key: value for key, value in more.items() if value}


def ping_state(state: SwarmState) -> str:
    """The `Swarm` header of /_ping."""
    if state.state != "active":
        return state.state
    return "active/manager" if state.control else "active/worker"


@lru_cache(maxsize=4)
def tls_info(ca: str) -> Mapping[str, str]:
    """Docker's TLSInfo of a root certificate in PEM; only the text itself where that is none."""
    if not ca:
        return {}
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    try:
        root = x509.load_pem_x509_certificate(ca.encode())
    except ValueError:
        return {"TrustRoot": ca}
    key = root.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return {
        "TrustRoot": ca,
        "CertIssuerSubject": base64.b64encode(root.subject.public_bytes()).decode(),
        "CertIssuerPublicKey": base64.b64encode(key).decode(),
    }
