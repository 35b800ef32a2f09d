"""Joining on real sockets: which cluster is believed, and what is taken from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.support.node_api import HOST, FakeManaging, serving
from towline.cluster import pki, tokens
from towline.cluster.identity import IdentityFiles
from towline.cluster.joining import join
from towline.cluster.node_api import Joined, JoinRequest
from towline.cluster.server import NodeApi
from towline.model.cluster import Description
from towline.model.errors import Failure, InvalidParameter, Unavailable
from towline.policy.swarm import JoinPlan
from towline.policy.swarm_address import HostPort


class Liar(FakeManaging):
    """Answers a request to join with something else than was asked for. lie: which."""

    lie = ""

    async def join(self, request: JoinRequest, address: str) -> Joined:
        joined = await super().join(request, address)
        subject = pki.Subject(joined.node, "worker", self.id)
        if self.lie == "another key":
            return replace(
                joined, certificate=pki.issue_node(self.root, pki.new_request().certificate, subject, seconds=60)
            )
        if self.lie == "another root":
            return replace(joined, certificate=pki.issue_node(pki.new_root(), request.request, subject, seconds=60))
        if self.lie == "no certificate":
            return replace(joined, certificate="x")
        return replace(joined, role="manager" if self.lie == "another role" else joined.role)


@pytest.fixture
def cluster() -> Liar:
    return Liar()


@pytest.fixture
async def api(cluster: Liar, tmp_path: Path) -> AsyncIterator[NodeApi]:
    async with serving(cluster, cluster.certified(tmp_path, "manager")) as served:
        cluster.managers = (f"{HOST}:{served.port}",)
        yield served


def plan(token: str, *ports: int) -> JoinPlan:
    remotes = tuple(HostPort(HOST, port) for port in ports)
    return JoinPlan(HostPort("0.0.0.0", 2377), None, "", remotes, token, "active")


@pytest.mark.parametrize("role", ["worker", "manager"])
async def test_a_token_gives_a_node_its_role(cluster: Liar, api: NodeApi, tmp_path: Path, role: str) -> None:
    token = cluster.worker_token if role == "worker" else cluster.manager_token
    identity, credentials = await join(plan(token, api.port), Description("host"))
    assert pki.subject_of(credentials.certificate) == (identity.node, role, cluster.id)
    assert credentials.ca == cluster.root.certificate
    assert (identity.advertise, identity.managers) == (HOST, cluster.managers)
    files = IdentityFiles(tmp_path / "joined")
    files.begin(identity, credentials)
    assert files.load() == identity


async def test_the_next_manager_is_asked(cluster: Liar, api: NodeApi) -> None:
    identity, _ = await join(plan(cluster.worker_token, 1, api.port), Description())
    assert identity.cluster == cluster.id
    with pytest.raises(Unavailable, match=f"no manager answers: {HOST}:1: "):
        await join(plan(cluster.worker_token, 1), Description())


async def test_another_clusters_root_is_not_believed_and_hears_no_token(cluster: Liar, api: NodeApi) -> None:
    other = FakeManaging()
    with pytest.raises(Failure, match="remote CA does not match fingerprint"):
        await join(plan(other.worker_token, api.port), Description())
    assert cluster.calls == []


async def test_who_shows_the_root_but_is_no_manager_hears_no_token(cluster: Liar, tmp_path: Path) -> None:
    async with serving(cluster, cluster.certified(tmp_path, "worker")) as api:
        with pytest.raises(Unavailable, match="no manager of this cluster"):
            await join(plan(cluster.worker_token, api.port), Description())
    assert cluster.calls == []


async def test_an_old_token_is_refused(cluster: Liar, api: NodeApi) -> None:
    stolen = cluster.worker_token
    cluster.worker_token = tokens.new_token(cluster.root.certificate)
    with pytest.raises(InvalidParameter, match="valid join token"):
        await join(plan(stolen, api.port), Description())
    with pytest.raises(InvalidParameter, match="^invalid join token$"):
        await join(plan("SWMTKN-1-x", api.port), Description())


@pytest.mark.parametrize("lie", ["another key", "another root", "another role", "no certificate"])
async def test_an_answer_that_does_not_fit_is_refused(cluster: Liar, api: NodeApi, lie: str) -> None:
    cluster.lie = lie
    with pytest.raises(Failure, match="the manager's answer is not understood"):
        await join(plan(cluster.worker_token, api.port), Description())
