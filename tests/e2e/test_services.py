"""Services over three real hosts: what the command lines say, who is found by which name, and who has which address."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.boxes import Box, create, running, stop
from tests.support.equality_cluster import etcd_records
from tests.support.hosts import TOWLINE, Host, hosts
from tests.support.polling import eventually, until

MANAGERS_ONLY = "Worker nodes can't be used to view or modify cluster state."
OVERLAY = ("network", "create", "-d", "overlay")


@pytest.fixture(scope="module")
def three() -> Iterator[list[Host]]:
    """A manager and two workers, on a network that only services may be on. Silent for three seconds: down."""
    with ExitStack() as stack:
        found = stack.enter_context(hosts(3))
        found[0].init()
        found[0].docker("swarm", "update", "--dispatcher-heartbeat", "1s")
        for host in found[1:]:
            host.join(found[0])
        found[0].docker(*OVERLAY, "--ipv6", "--subnet", "10.9.0.0/24", "--subnet", "fd00:9::/64", "wide")
        yield found


def refused(host: Host, *words: str) -> str:
    """What our command line says, complaints included; it fails."""
    command = [TOWLINE, "-H", f"unix://{host.daemon.socket}", *words]
    return host.net.run(["sh", "-c", '! "$@" 2>&1', "sh", *command])


def shown(host: Host, name: str) -> dict[str, object]:
    (service,) = json.loads(host.towline("--json", "service", "inspect", name))
    return dict(service)


def known(three: list[Host], name: str) -> None:
    """Until every node has heard of it."""
    body = {"command": ["true"], "service": name}

    def heard(host: Host) -> bool:
        answer = create(host.daemon, f"probe{host.number}", **body)
        host.daemon.http("DELETE", f"/towline/v1/sandboxes/probe{host.number}?force=1")
        return answer.status == 201

    until(lambda: all(heard(host) for host in three))


def test_what_the_command_lines_say(three: list[Host]) -> None:
    manager, worker = three[0], three[1]
    made = manager.towline("service", "create", "--network", "wide", "-p", "8090:80", "-l", "a=b", "shop").strip()
    assert len(made) == 25
    assert manager.towline("service", "ls", "--format", "{{.Name}} {{.Mode}} {{.Members}} {{.Ports}}") == (
        "shop vip 0 *:8090->80/tcp\n"
    )
    assert manager.docker("service", "ls", "--format", "{{.ID}} {{.Name}} {{.Replicas}} {{.Ports}}") == (
        f"{made[:12]} shop 0/0 *:8090->80/tcp\n"
    )
    assert manager.docker("service", "inspect", "-f", "{{.ID}} {{.Spec.EndpointSpec.Mode}}", "shop") == f"{made} vip\n"
    assert "Endpoint Mode:\tvip" in manager.docker("service", "inspect", "--pretty", "shop")
    for words in (["ls"], ["create", "x"], ["rm", "shop"], ["inspect", "shop"]):
        assert MANAGERS_ONLY in refused(worker, "service", *words)
    for words in (["ls"], ["rm", "shop"], ["inspect", "shop"]):
        assert MANAGERS_ONLY in worker.docker("service", *words, check=False)
    network = json.loads(manager.docker("network", "inspect", "wide"))[0]["Id"]
    refusals = {
        ("network", "rm", "wide"): f"network {network} is in use by service {made}",
        ("service", "create", "SHOP"): "name conflicts with an existing object: service SHOP already exists",
        ("service", "create", "-p", "8090:1", "x"): f"port '8090' is already in use by service 'shop' ({made}) as an",
        ("service", "create", "--network", "nope", "x"): "network nope not found",
        ("service", "create", "--network", "bridge", "x"): "The network bridge cannot be used with services.",
        ("run", "-d", "--network", "wide", "--", "true"): "network wide not manually attachable",
        ("run", "-d", "--service", "nope", "--", "true"): "service nope not found",
    }
    for command, text in refusals.items():
        assert text in refused(manager, *command), command
    manager.towline("service", "update", "--publish-rm", "80", "--label-rm", "a", "--label-add", "c=d", "shop")
    page = shown(manager, "shop")
    assert (page["ports"], page["labels"]) == ([], {"c": "d"})
    assert manager.docker("service", "rm", "shop") == "shop\n"
    assert manager.towline("service", "ls", "-q") == ""
    events = manager.towline("events", "--since", "10m", "--until", "0s", "--filter", "type=service", "--json")
    assert [line for line in events.splitlines() if made in line] != []
    assert not [key for key in etcd_records(manager) if key.startswith(("service/", "block/"))]


def test_names_lead_to_members_on_all_hosts_and_forget_who_is_gone(three: list[Host]) -> None:
    manager, _, last = three
    with ExitStack() as stack:
        manager.towline("service", "create", "--network", "wide", "shop")
        stack.callback(lambda: manager.towline("service", "rm", "--force", "shop", "robin", check=False))
        manager.towline("service", "create", "--network", "wide", "--endpoint-mode", "dnsrr", "robin")
        known(three, "robin")
        boxes = [stack.enter_context(running(host.daemon, f"s{host.number}", service="shop")) for host in three]
        robin = [stack.enter_context(running(host.daemon, f"r{host.number}", service="robin")) for host in three]
        wide = next(n for n in shown(manager, "shop")["networks"] if n["name"] == "wide")  # type: ignore[attr-defined]
        vip4, vip6 = (wide[family].partition("/")[0] for family in ("ipv4", "ipv6"))
        shops = sorted(box.ipv4 for box in boxes)
        robins = sorted(box.ipv4 for box in robin)
        for box in (*boxes, *robin):
            eventually(lambda box=box: says(box, {"shop": [vip4], "tasks.shop": shops, "robin": robins}))
            says(box, {"tasks.robin": robins, "shop.wide": [vip4], "s2": [boxes[1].ipv4]})
            assert box.ask("shop", "AAAA") == [vip6]
        assert len(shown(manager, "shop")["members"]) == 3  # type: ignore[arg-type]
        assert "service shop has running members" in refused(manager, "service", "rm", "shop")
        stop(three[1].daemon, "s2")
        stop(three[1].daemon, "r2")
        shops.remove(boxes[1].ipv4)
        robins.remove(robin[1].ipv4)
        eventually(lambda: says(boxes[0], {"shop": [vip4], "tasks.shop": shops, "robin": robins}))
        last.daemon.kill()
        shops.remove(boxes[2].ipv4)
        robins.remove(robin[2].ipv4)
        eventually(lambda: says(boxes[0], {"shop": [vip4], "tasks.shop": shops, "robin": robins}))
        assert boxes[0].ask("s3") == [boxes[2].ipv4]  # its own name stays until what the node had is taken back
        last.daemon.launch()
        last.daemon.wait_message("READY=1")
        shops, robins = sorted([*shops, boxes[2].ipv4]), sorted([*robins, robin[2].ipv4])
        eventually(lambda: says(boxes[0], {"shop": [vip4], "tasks.shop": shops, "robin": robins}))
        eventually(lambda: says(boxes[2], {"shop": [vip4], "tasks.shop": shops, "robin": robins}))
        manager.towline("service", "rm", "--force", "shop")
        eventually(lambda: unknown(boxes[0], "shop", "tasks.shop"))
        assert boxes[0].ask("s1") == [boxes[0].ipv4]


def says(box: Box, wanted: dict[str, list[str]]) -> None:
    for name, addresses in wanted.items():
        assert box.ask(name) == addresses, f"{box.name} asks {name}"


def unknown(box: Box, *names: str) -> None:
    for name in names:
        assert box.ask(name) == [], name


def test_the_address_of_a_service_is_nobody_elses(three: list[Host]) -> None:
    """A network is filled to the last address, by sandboxes on all hosts and services in turn."""
    manager = three[0]
    manager.docker(*OVERLAY, "--attachable", "--subnet", "10.8.0.0/28", "small")
    manager.towline("service", "create", "--network", "small", "first")
    vip = shown(manager, "first")["networks"][0]["ipv4"]  # type: ignore[index]
    known(three, "first")
    given, names = [], []
    for at in range(16):
        host, name = three[at % 3], f"f{at}"
        asked: dict[str, object] = {"service": "first"} if at % 2 else {}
        networks = () if at % 2 else ("small",)
        answer = create(host.daemon, name, *networks, **asked)
        if answer.status == 201:
            (endpoint,) = host.daemon.http("GET", f"/towline/v1/sandboxes/{name}").json["endpoints"]
            given.append(endpoint["ipv4"])
            names.append((host, name))
    assert sorted([*given, vip]) == sorted(f"10.8.0.{at}/28" for at in range(2, 15))
    taken = {"network": "small", "ipv4": vip.partition("/")[0]}
    thief = create(three[2].daemon, "thief", taken)
    assert (thief.status, "is the virtual address of service first" in thief.json["message"]) == (409, True)
    refused_text = refused(manager, "service", "create", "--network", "small", "second")
    assert "could not find an available IP while allocating VIP" in refused_text
    for host, name in names:
        host.daemon.http("DELETE", f"/towline/v1/sandboxes/{name}?force=1")
    manager.towline("service", "rm", "first")
    eventually(lambda: gone(manager))


def gone(manager: Host) -> None:
    """No member is left that would keep the network; nor a block of it."""
    manager.docker("network", "rm", "small")


def test_a_member_s_ports_bring_it_onto_the_ingress_network(three: list[Host]) -> None:
    manager, worker = three[0], three[1]
    with ExitStack() as stack:
        manager.towline("service", "create", "--network", "wide", "-p", "8091:80", "mesh")
        stack.callback(lambda: manager.towline("service", "rm", "--force", "mesh"))
        known(three, "mesh")
        box = stack.enter_context(running(worker.daemon, "m1", service="mesh"))
        assert [e["network_name"] for e in box.shown["endpoints"]] == ["wide", "ingress", "docker_gwbridge"]
        inspected = json.loads(worker.docker("inspect", "m1"))[0]["NetworkSettings"]["Networks"]
        assert sorted(inspected) == ["ingress", "wide"]
        manager.towline("service", "update", "--publish-rm", "80", "mesh")
        until(lambda: "ingress" not in [e["network_name"] for e in box.shown["endpoints"]])
        manager.towline("service", "update", "--publish-add", "8092:80", "mesh")
        until(lambda: "ingress" in [e["network_name"] for e in box.shown["endpoints"]])


def test_without_a_cluster_services_are_refused_as_docker_does(three: list[Host]) -> None:
    del three
    with hosts(1) as (alone,):
        text = 'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node'
        for words in (["ls"], ["create", "x"], ["rm", "x"]):
            assert text in refused(alone, "service", *words)
