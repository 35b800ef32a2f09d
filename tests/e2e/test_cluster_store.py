"""Managers on an etcd that is not theirs (`--cluster-store`), with TLS and users: it is told what is wrong, and what an
operator does with managers works as with etcd of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.etcd_foreign import ForeignEtcd, foreign_etcd
from tests.support.hosts import Host, hosts, start_all
from tests.support.polling import until


class Lab:
    """etcd is on a host of its own; the others have daemons that are told of it."""

    def __init__(self, etcd: ForeignEtcd, made: list[Host]) -> None:
        self.etcd = etcd
        self.one, self.two, self.three = made


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with hosts(4, start=False) as (store, *made):
        folder: Path = tmp_path_factory.mktemp("store")
        with foreign_etcd(store, folder) as etcd:
            for host in made:
                host.daemon.args += ["--cluster-store", etcd.url()]
            start_all(made)
            yield Lab(etcd, made)


def _swarm(host: Host) -> dict[str, Any]:
    swarm: dict[str, Any] = host.daemon.http("GET", "/info").json["Swarm"]
    return swarm


def _again(host: Host, store: str | None) -> None:
    """Restart with another --cluster-store, None: without."""
    host.daemon.stop()
    host.daemon.args = [] if store is None else ["--cluster-store", store]
    host.daemon.start()


def _create(host: Host, name: str) -> Any:
    return host.daemon.http("POST", "/networks/create", {"Name": name, "Driver": "overlay", "Attachable": True})


def _init(host: Host) -> Any:
    return host.daemon.http("POST", "/swarm/init", {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": host.address})


def test_what_is_wrong_with_it_is_told_and_nothing_is_changed(lab: Lab) -> None:
    etcd, host = lab.etcd, lab.one
    for store, text in (
        (etcd.url(password="wrong"), "authentication failed, invalid user ID or password. Look at user towline"),
        (etcd.url(ca="strange.pem"), "certificate verify failed"),
        (etcd.url(ca="absent.pem"), "cannot use"),
        (etcd.url(password="absent"), "cannot read password-file"),
        (etcd.url().replace("towline@", "").partition("&")[0], "This etcd wants a user"),
        ("etcd://192.0.2.99:2379?tls=off", "no connection to http://192.0.2.99:2379"),
    ):
        _again(host, store)
        answer = _init(host)
        assert (answer.status, text in answer.json["message"]) == (503, True), answer
        assert "staple" not in answer.json["message"]
        assert _swarm(host)["LocalNodeState"] == "inactive"
        assert not (host.daemon.data_root / "cluster").exists()
    assert etcd.names() == []
    _again(host, etcd.url())


def test_managers_come_go_and_outlive_a_restart_of_etcd(lab: Lab) -> None:
    etcd, one, two, three = lab.etcd, lab.one, lab.two, lab.three
    one.init("--dispatcher-heartbeat", "1s")
    assert not one.net.run(["sh", "-c", "ss -Hltn 'sport = :2378 or sport = :2379'"])
    assert not (one.daemon.data_root / "cluster" / "etcd").exists()
    assert "/towline/v1/cluster" in etcd.names()
    said = _init(two)
    assert said.status == 409, said
    assert f"holds the cluster {_swarm(one)['Cluster']['ID']} already: join that one" in said.json["message"]
    two.join(one, "manager")
    three.join(one)
    assert _create(two, "first").status == 201
    etcd.stop()
    until(lambda: not _swarm(one)["ControlAvailable"], 30)
    refused = _create(one, "second")
    assert refused.status == 503, refused
    assert "trouble connecting to the cluster. (etcd: " in refused.json["message"]
    etcd.start()
    until(lambda: _create(one, "second").status == 201, 30)
    until(lambda: bool(_swarm(two)["ControlAvailable"]), 30)
    node = _swarm(three)["NodeID"]
    two.docker("node", "promote", node)
    until(lambda: bool(_swarm(three)["ControlAvailable"]), 30)
    assert _create(three, "third").status == 201
    one.docker("node", "demote", _swarm(two)["NodeID"])
    until(lambda: "left the swarm" in two.docker("swarm", "leave", check=False), 30)
    three.docker("swarm", "leave", "--force")
    assert "/towline/v1/cluster" in etcd.names()


def test_a_manager_needs_the_store_of_the_others(lab: Lab) -> None:
    one, two = lab.one, lab.two
    _again(two, None)
    token = one.docker("swarm", "join-token", "-q", "manager").strip()
    join = ("swarm", "join", "--advertise-addr", two.address, "--token", token, f"{one.address}:2377")
    said = two.docker(*join, check=False)
    assert "managers of this cluster use an etcd of their own: start the daemon of this node with the same" in said
    assert _swarm(two)["LocalNodeState"] == "inactive"
    two.docker("swarm", "init", "--advertise-addr", two.address)
    words = lab.three.docker(
        *("swarm", "join", "--advertise-addr", lab.three.address),
        *("--token", two.docker("swarm", "join-token", "-q", "manager").strip(), f"{two.address}:2377"),
        check=False,
    )
    assert f"the etcd of --cluster-store holds the cluster {_swarm(one)['Cluster']['ID']}, and this node" in words
    two.docker("swarm", "leave", "--force")
    _again(two, lab.etcd.url())


def test_alone_and_the_end(lab: Lab) -> None:
    """--force-new-cluster drops managers that never come back; the last one that leaves takes everything along."""
    one, two = lab.one, lab.two
    two.join(one, "manager")
    two.daemon.kill()
    one.daemon.kill()
    one.daemon.start()
    one.docker("swarm", "init", "--force-new-cluster", "--advertise-addr", one.address)
    assert _swarm(one)["Managers"] == 1 or _create(one, "alone").status == 201
    names = {n["Name"] for n in one.daemon.http("GET", "/networks").json}
    assert {"first", "second", "third"} <= names
    two.daemon.start()
    until(lambda: bool(_swarm(two)["ControlAvailable"]), 30)
    two.docker("swarm", "leave", "--force")
    one.docker("swarm", "leave", "--force")
    assert lab.etcd.names() == []
    one.init()
    assert "/towline/v1/cluster" in lab.etcd.names()
