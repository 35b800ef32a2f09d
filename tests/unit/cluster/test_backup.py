"""A backup is whole or refused, and what is put back differs from it in what must be different."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.support.managers import managers, node, peer
from towline.cluster import codec, pki, tokens
from towline.cluster.backup import Backup, read, write
from towline.cluster.bootstrap import bootstrap
from towline.cluster.contract import PutKey, Report
from towline.cluster.etcd_fake import FakeCluster, Fault
from towline.cluster.identity import Identity
from towline.cluster.restoring import for_member, for_new, put_back
from towline.cluster.state import State
from towline.model.cluster import Cluster, Description, HostInterface, Secrets
from towline.model.errors import Conflict, InvalidParameter, Unavailable
from towline.model.requests import CreateNetwork, InitSwarm
from towline.plan.global_network import VNI_LIST
from towline.policy.swarm import resolve_init
from towline.policy.swarm_spec import default_spec

A, B = node(0), node(1)
NOW = 2_000_000_000 * 10**9
ROOT = pki.new_root()
SECRETS = Secrets(ROOT.key, tokens.new_token(ROOT.certificate), tokens.new_token(ROOT.certificate))
CLUSTER = Cluster("c" * 25, 1, spec=default_spec(), ca=ROOT.certificate)
HERE = [HostInterface("eth0", True, ("192.0.2.1/24",))]
PLAN = resolve_init(InitSwarm("0.0.0.0:2377", "192.0.2.1"), HERE)


async def made() -> tuple[FakeCluster, bytes]:
    """A cluster with a network, a block, an endpoint, and nodes that report; and its backup."""
    fake = FakeCluster()
    client = fake.client()
    await bootstrap(client, CLUSTER, SECRETS, A, ingress_id="i" * 25, now=1)
    for each in (B,):
        fake.transact([], [PutKey(codec.node_key(each.id), codec.encode(replace(each, manager_address="x:1")))])
    fake.transact([], [PutKey(codec.LEADER_KEY, codec.encode(codec.Leader(A.id)), fake.grant(10))])
    fake.transact([], [PutKey(codec.endpoint_key("n", "e"), codec.encode(peer(A, "n", 1, "10.0.0.2/24")))])
    found = await client.range(codec.PREFIX)
    return fake, write(found.items, revision=found.revision, now=NOW)


async def put(fake: FakeCluster, backup: Backup) -> State:
    etcd = fake.client()
    await put_back(etcd, for_new(backup, PLAN, Description("host"), NOW))
    found = await etcd.range(codec.PREFIX)
    return State(found.revision, found.items)


async def test_what_is_put_back() -> None:
    _, data = await made()
    backup = read(data)
    assert (backup.header.cluster, backup.header.made) == (CLUSTER.id, NOW)
    state = await put(FakeCluster(), backup)
    assert state.secrets == SECRETS
    assert state.cluster is not None
    assert (state.cluster.id, state.cluster.era) == (CLUSTER.id, 2_000_000_000)
    assert state.settling == codec.Settling(state.cluster.era)
    assert [n.name for n in state.networks.all()] == ["ingress"]
    assert list(state.managers) == [A.id], "the node with this host's address; B is no manager until it comes"
    assert not state.peers.of_node(A.id)
    assert not state.alive
    assert not state.leader
    assert SECRETS.ca_key not in repr(backup) + repr(for_new(backup, PLAN, Description(), NOW))


async def test_networks_made_afterwards_get_other_ids_than_those_that_are_lost() -> None:
    _, data = await made()
    fake = FakeCluster()
    state = await put(fake, read(data))
    assert state.last_vni == 4096 + 2048
    async with managers([fake.client()], of=CLUSTER, nodes=0) as (manager,):
        network = await manager.networks.create(CreateNetwork("ov", driver="overlay"))
        assert network.options == {VNI_LIST: "6145"}
        await manager.beat(A.id, Report(1, 1))
        ingress = manager.state.networks.get("i" * 25)
        assert ingress is not None
        with pytest.raises(Unavailable, match="was restored"):
            await manager.lease_block(A.id, ingress.id, ingress.pools[0].subnet)


async def test_another_era_each_time() -> None:
    _, data = await made()
    backup = read(data)
    later = replace(backup, cluster=replace(backup.cluster, era=3 * 10**9))
    assert for_new(later, PLAN, Description(), NOW).cluster.era == 3 * 10**9 + 1
    held = Identity(B.id, CLUSTER.id, "0.0.0.0", "192.0.2.2", "192.0.2.2", era=4 * 10**9)
    what = for_member(backup, held, Description(), NOW)
    assert what.cluster.era == what.identity.era == 4 * 10**9 + 1
    assert (what.node.id, what.node.spec.role, what.node.manager_address) == (B.id, "manager", "192.0.2.2:2377")
    assert pki.subject_of(what.credentials.certificate) == pki.Subject(B.id, "manager", CLUSTER.id)
    assert pki.signed_by(what.credentials.certificate, ROOT.certificate)
    with pytest.raises(Conflict, match="restore it on a node of that cluster"):
        for_member(backup, replace(held, cluster="d" * 25), Description(), NOW)


async def test_a_lost_answer_does_not_matter_and_an_etcd_in_use_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("towline.cluster.restoring._PAUSE", 0.0)
    used, data = await made()
    backup = read(data)
    for faults in ((Fault.LOST_ANSWER,), (Fault.LOST_ANSWER, Fault.LOST_ANSWER)):
        etcd = FakeCluster().client()
        etcd.fail(*faults)
        await put_back(etcd, for_new(backup, PLAN, Description(), NOW))
    before = used.keys()
    with pytest.raises(Conflict, match="into an empty one.*etcdctl del --prefix /towline/v1/"):
        await put_back(used.client(), for_new(backup, PLAN, Description(), NOW))
    assert used.keys() == before


async def test_damage_of_any_kind_is_told() -> None:
    _, data = await made()
    lines = data.splitlines(keepends=True)
    for damaged, text in (
        (b"", "no backup"),
        (b"{}\n{}\n", "no backup"),
        (data[:-3], "not whole"),
        (b"".join(lines[:-1]), "not whole"),
        (b"".join(lines[:2] + lines[3:]), "checksum"),
        (data.replace(b"ingress", b"ingrass"), "checksum"),
    ):
        with pytest.raises(InvalidParameter, match=text):
            read(damaged)
    for at in range(0, len(data), 97):
        with pytest.raises(InvalidParameter):
            read(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


async def test_an_etcd_without_a_cluster_cannot_be_backed_up() -> None:
    with pytest.raises(Unavailable, match="holds no cluster"):
        write((), revision=1, now=NOW)
