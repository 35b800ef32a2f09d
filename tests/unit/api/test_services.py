"""/towline/v1/services and Docker's /services over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from tests.support.fake_engine import FakeEngine
from tests.support.fake_swarm import FakeSwarm
from tests.support.served import ask
from towline.model.cluster import Peer
from towline.model.endpoint import Endpoint
from towline.model.network import Network
from towline.model.service import VirtualIP
from towline.store.contract import Delete, Put

INIT = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": "192.0.2.1"}
OV = Network("w" * 25, "wide", 1, "overlay", phase="ready", scope="swarm")
INGRESS = Network("i" * 25, "ingress", 1, "overlay", phase="ready", scope="swarm", ingress=True)
PATH = "/towline/v1/services"
WEB: dict[str, Any] = {
    "name": "web",
    "networks": ["wide"],
    "ports": [{"target": 80, "published": 8080}, {"target": 53, "published": 53, "protocol": "udp", "name": "dns"}],
    "labels": {"a": "b"},
}


@pytest.fixture
def cluster(engine: FakeEngine) -> FakeSwarm:
    engine.cluster = swarm = FakeSwarm()
    for network in (OV, INGRESS):
        engine._store.update([Put(network)])
        swarm.networks.put(network)
    return swarm


async def made(socket: str) -> dict[str, Any]:
    await ask(socket, "POST", "/swarm/init", INIT)
    answer = await ask(socket, "POST", PATH, WEB)
    assert answer.status == 201
    found: dict[str, Any] = answer.json
    return found


async def test_create_list_inspect_update_remove(socket: str, cluster: FakeSwarm) -> None:
    web = await made(socket)
    assert (web["name"], web["mode"], web["labels"], web["members"]) == ("web", "vip", {"a": "b"}, [])
    assert web["networks"] == [{"id": OV.id, "name": "wide", "ingress": False, "ipv4": "", "ipv6": ""}]
    assert web["ports"][1] == {"target": 53, "published": 53, "protocol": "udp", "mode": "ingress", "name": "dns"}
    for term in (web["id"], "WEB", web["id"][:24]):
        assert (await ask(socket, "GET", f"{PATH}/{term}")).json == web
    assert (await ask(socket, "GET", PATH)).json == [web]
    for filters, found in (("name=we", 1), ("name=x", 0), ("label=a=b", 1), ("label=c", 0), ("id=0", 1)):
        key, _, value = filters.partition("=")
        listed = await ask(socket, "GET", f"{PATH}?filters=%7B%22{key}%22:%5B%22{value}%22%5D%7D")
        assert len(listed.json) == found, filters
    change = {"version": web["version"], "labels": {}, "ports": [{"target": 81, "mode": "host"}]}
    changed = (await ask(socket, "POST", f"{PATH}/web/update", change)).json
    assert (changed["labels"], changed["networks"]) == ({}, web["networks"])
    assert changed["ports"] == [{"target": 81, "published": 0, "protocol": "tcp", "mode": "host", "name": ""}]
    refused = await ask(socket, "POST", f"{PATH}/web/update", change)
    assert (refused.status, refused.json["message"][-22:]) == (500, "update out of sequence")
    cluster.running = ["one"]
    refused = await ask(socket, "DELETE", f"{PATH}/web")
    assert (refused.status, refused.json["message"][:39]) == (409, "service web has running members: one. S")
    assert (await ask(socket, "DELETE", f"{PATH}/web?force=1")).status == 204
    assert (await ask(socket, "GET", f"{PATH}/web")).json == {"message": "service web not found"}


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"name": ""}, 400, "rpc error: code = InvalidArgument desc = meta: name must be provided"),
        ({"name": "Web"}, 409, "rpc error: code = AlreadyExists desc = name conflicts with an existing object: serv"),
        ({"networks": ["nope"]}, 500, "network nope not found"),
        ({"networks": ["bridge"]}, 403, "The network bridge cannot be used with services. Only networks scoped to"),
        ({"networks": ["ingress"]}, 400, "rpc error: code = InvalidArgument desc = Service cannot be explicitly att"),
        ({"ports": [{"target": 80, "protocol": "icmp"}]}, 400, "invalid JSON: Invalid enum value 'icmp'"),
        ({"ports": [{"target": 2**70}]}, 400, "inval"),
        ({"ports": [{}]}, 400, "invalid JSON: Object missing required field `target`"),
        ({"nets": []}, 400, "invalid JSON: Object contains unknown field `nets`"),
        ({"mode": "x"}, 400, "invalid endpoint mode 'x': it is vip or dnsrr"),
    ],
)
@pytest.mark.usefixtures("cluster")
async def test_refusals(socket: str, change: dict[str, Any], status: int, message: str) -> None:
    await made(socket)
    refused = await ask(socket, "POST", PATH, {"name": "other", **change})
    assert (refused.status, refused.json["message"][: len(message)]) == (status, message)


async def test_a_network_shows_its_services_when_asked_for(socket: str, engine: FakeEngine, cluster: FakeSwarm) -> None:
    web = await made(socket)
    service = replace(cluster.offered[web["id"]], vips=(VirtualIP(OV.id, "10.0.0.250/24"),))
    here = Endpoint("e1", "one", OV.id, ipv4="10.0.0.2/24", service=service.id)
    there = Peer("e2", OV.id, "n2", "192.0.2.2", "02:00:00:00:00:01", name="two", ipv4="10.0.0.3/24")
    engine._store.update([Put(service), Put(here), Put(there)])
    assert "Services" not in (await ask(socket, "GET", "/networks/wide")).json
    found = (await ask(socket, "GET", "/networks/wide?verbose=true")).json["Services"]
    task = {"Name": "one", "EndpointID": "e1", "EndpointIP": "10.0.0.2", "Info": {"Host IP": "192.0.2.1"}}
    ports = ["Target: 80, Publish: 8080", "Target: 53, Publish: 53"]
    assert found["web"] == {"VIP": "10.0.0.250", "Ports": ports, "LocalLBIndex": 0, "Tasks": [task]}
    assert [(task["Name"], task["Info"]) for task in found[""]["Tasks"]] == [("two", {"Host IP": "192.0.2.2"})]
    engine._store.update([Delete(Endpoint, "e1")])
    dangling = (await ask(socket, "GET", "/networks?filters=%7B%22dangling%22:%5B%22true%22%5D%7D")).json
    assert "wide" not in [network["Name"] for network in dangling]


async def test_without_a_cluster_docker_s_text_comes_first(socket: str) -> None:
    refused = await ask(socket, "POST", PATH, {"nonsense": 1})
    assert refused.status == 503
    assert refused.json["message"].startswith('This node is not a swarm manager. Use "docker swarm init"')


async def test_docker_s_clients_see_and_remove_them(socket: str, cluster: FakeSwarm) -> None:
    web = await made(socket)
    (listed,) = (await ask(socket, "GET", "/v1.50/services?status=true")).json
    assert (listed["ID"], listed["Spec"]["Name"], listed["Version"]) == (web["id"], "web", {"Index": web["version"]})
    assert listed["Spec"]["Mode"] == {"Replicated": {"Replicas": 0}}
    assert listed["ServiceStatus"] == {"RunningTasks": 0, "DesiredTasks": 0, "CompletedTasks": 0}
    assert listed["Endpoint"]["Ports"][0] == {
        "Protocol": "tcp",
        "TargetPort": 80,
        "PublishedPort": 8080,
        "PublishMode": "ingress",
    }
    one = (await ask(socket, "GET", "/services/web")).json
    assert one == {key: value for key, value in listed.items() if key != "ServiceStatus"}
    cluster.running = ["one"]
    assert (await ask(socket, "DELETE", "/services/web")).status == 200
    assert (await ask(socket, "GET", "/services")).json == []
    for path in ("/services/create", "/services/web/update?version=1"):
        refused = await ask(socket, "POST", path, {})
        assert (refused.status, refused.json["message"][:41]) == (501, "Towline joins sandboxes to services and s")
