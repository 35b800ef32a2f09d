"""/towline/v1/cluster: how each node of the cluster is."""

from __future__ import annotations

from typing import Literal

import msgspec
from aiohttp import web

from towline.api.body import read_own
from towline.api.call import EMPTY_HEADERS, Call, empty_answer, json_value
from towline.api.gotext import loose_bool
from towline.model.cluster import Availability, ClusterStatus, Liveness, NodeStatus, Role, SwarmState
from towline.model.errors import InvalidParameter
from towline.model.requests import RestoreCluster

_LARGEST_BACKUP = 256 << 20
"""Bytes."""


class ManagerPart(msgspec.Struct, frozen=True):
    """address: host:port of its node API."""

    address: str
    leader: bool
    reachable: bool


class NodePage(msgspec.Struct, frozen=True):
    """role: what the operator wants it to be; it is a manager while `manager` is not null. address, data_path: bare
    addresses. revision: of the cluster, as applied on the node; lag: revisions that it was behind when it last
    reported. skew: its clock less the middle of the managers', seconds. repairs: rows and links that it has set right.
    Null: it has not reported."""

    id: str
    hostname: str
    role: Role
    availability: Availability
    state: Liveness
    address: str
    data_path: str
    engine_version: str
    manager: ManagerPart | None
    revision: int | None
    lag: int | None
    skew: float | None
    repairs: int | None
    problem: str


class ClusterPage(msgspec.Struct, frozen=True):
    """node: the id of the one that answers. revision: of the cluster, as known there. silence: seconds since a manager
    answered it, null if none has."""

    cluster: str
    node: str
    state: Literal["inactive", "pending", "active", "error", "locked"]
    manager: bool
    error: str
    revision: int
    silence: float | None
    nodes: list[NodePage]


async def status(call: Call) -> web.Response:
    cluster = call.engine.cluster
    return json_value(page(cluster.state, await cluster.cluster_status()))


async def rotate_key(call: Call) -> web.Response:
    await call.engine.cluster.rotate_key()
    return web.Response(status=204)


class Restored(msgspec.Struct, frozen=True):
    """node: the id of this node, which is the cluster's only manager now."""

    node: str


class ManagersRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """host[:port] of node APIs."""

    managers: tuple[str, ...] = ()


async def managers(call: Call) -> web.Response:
    asked = await read_own(call.request, ManagersRequest)
    await call.engine.cluster.set_managers(asked.managers)
    return empty_answer()


async def backup(call: Call) -> web.Response:
    data = await call.engine.cluster.backup_cluster()
    response = web.Response(body=data, headers=EMPTY_HEADERS)
    response.content_type = "application/octet-stream"
    return response


async def restore(call: Call) -> web.Response:
    query = call.query
    request = RestoreCluster(
        listen_addr=query.get("listen-addr", "") or RestoreCluster().listen_addr,
        advertise_addr=query.get("advertise-addr", ""),
        data_path_addr=query.get("data-path-addr", ""),
        force=loose_bool(query.get("force", "")),
    )
    return json_value(Restored(await call.engine.cluster.restore_cluster(request, await _whole(call.request))))


async def _whole(request: web.BaseRequest) -> bytes:
    """The body, of a size that other requests may not have."""
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.content.iter_any():
            size += len(part)
            if size > _LARGEST_BACKUP:
                raise InvalidParameter(f"the backup has more than {_LARGEST_BACKUP} bytes")
            parts.append(part)
    except web.RequestPayloadError:
        raise InvalidParameter("the backup did not arrive whole") from None
    return b"".join(parts)


def page(state: SwarmState, found: ClusterStatus) -> ClusterPage:
    """Nodes in order of host name and id."""
    ordered = sorted(found.nodes, key=lambda status: (status.node.description.hostname, status.node.id))
    return ClusterPage(
        cluster=found.cluster,
        node=state.node_id,
        state=state.state,
        manager=state.control,
        error=state.error,
        revision=found.revision,
        silence=found.silence,
        nodes=[_node(status, found.revision, here=status.node.id == state.node_id) for status in ordered],
    )


def _node(status: NodeStatus, revision: int, *, here: bool) -> NodePage:
    """here: the node that answers; what is known here is what is applied here, whatever it last reported."""
    node, alive = status.node, status.alive
    applied = revision if here else alive.revision if alive else 0
    manager = ManagerPart(node.manager_address, status.leader, status.reachable) if node.manager_address else None
    return NodePage(
        id=node.id,
        hostname=node.description.hostname,
        role=node.spec.role,
        availability=node.spec.availability,
        state=status.state,
        address=node.address,
        data_path=node.data_path,
        engine_version=node.description.engine_version,
        manager=manager,
        revision=applied if alive else None,
        lag=max(0, revision - applied) if alive else None,
        skew=alive.skew if alive else None,
        repairs=alive.repairs if alive else None,
        problem=(alive.problem if alive else "") or status.message,
    )
