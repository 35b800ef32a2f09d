"""Docker's recorded swarm of one node, replayed against a real daemon with a real etcd."""

from __future__ import annotations

from tests.support import differences
from tests.support.daemon import Daemon, fresh_daemon
from tests.support.polling import eventually
from tests.support.replay import replay, scenarios

POOL = ("--default-address-pool", "base=10.0.0.0/8,size=24")  # as on the recorded host


def test_a_swarm_of_one_node_answers_as_docker_did() -> None:
    with fresh_daemon(*POOL) as daemon:
        daemon.start()
        assert replay(daemon.socket, scenarios()["one node"], differences.of("one node")) == []
        assert daemon.stop() == 0


def test_it_is_still_a_manager_after_a_restart() -> None:
    with fresh_daemon(*POOL) as daemon:
        daemon.start()
        begun = {"ListenAddr": "127.0.0.1:12377", "AdvertiseAddr": "127.0.0.1"}
        node_id = daemon.http("POST", "/swarm/init", begun).json
        before = daemon.http("GET", "/swarm").json
        daemon.restart()
        eventually(lambda: _manages(daemon), within=30)
        assert daemon.http("GET", "/swarm").json == before
        assert daemon.http("GET", "/info").json["Swarm"]["NodeID"] == node_id


def _manages(daemon: Daemon) -> None:
    assert daemon.http("HEAD", "/_ping").headers["swarm"] == "active/manager"
